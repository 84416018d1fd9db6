// jira.js, version 6 (Node 22 and later): it asks for a token before each request.
import { createCloudClient } from "jira.js";

/** A Jira client whose requests carry a token of the source. */
export async function jiraClient(source) {
  let last;
  const getToken = async () => (last = await source.token()).value;
  return createCloudClient({
    host: await source.apiBaseUrl(),
    auth: { type: "bearer", getToken },
    // A 401 is reported, and the request sent again with a newer token if there is one.
    getAuthOn401: async () => ({ type: "bearer", token: ((await source.rejected(last)) ?? last).value }),
  });
}

/** The keys of all issues that the JQL finds, page by page. */
export async function* issueKeys(source, jql) {
  const jira = await jiraClient(source);
  let nextPageToken;
  do {
    const page = await jira.issueSearch.searchAndReconsileIssuesUsingJql({ jql, nextPageToken, maxResults: 10, fields: ["summary"] });
    yield page.issues.map((issue) => issue.key);
    nextPageToken = page.nextPageToken;
  } while (nextPageToken);
}
