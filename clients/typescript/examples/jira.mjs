// jira.js, version 6 (Node 22 and later): it asks for a token before each request.
import { createCloudClient } from "jira.js";
import { createClient } from "jira.js/core";

/** A Jira client whose requests carry a token of the source. */
export async function jiraClient(source) {
  const host = await source.apiBaseUrl();
  return createCloudClient({
    sendRequest: (request) => {
      let last; // of this request alone: others that are under way may have another one
      const getToken = async () => (last = await source.token()).value;
      // A 401 is reported, and the request sent again with a newer token if there is one.
      const getAuthOn401 = async () => ({ type: "bearer", token: ((await source.rejected(last)) ?? last).value });
      return createClient({ host, auth: { type: "bearer", getToken }, getAuthOn401 }).sendRequest(request);
    },
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
