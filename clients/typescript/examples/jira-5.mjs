// jira.js, version 5, is built on axios, which takes the source's fetch.
import { Version3Client } from "jira.js-5"; // in your project: "jira.js"

/** A Jira client whose requests carry a token of the source. */
export async function jiraClient(source) {
  return new Version3Client({
    host: await source.apiBaseUrl(),
    baseRequestConfig: { adapter: "fetch", env: { fetch: source.fetch } },
  });
}

/** The keys of all issues that the JQL finds, page by page. */
export async function* issueKeys(source, jql) {
  const jira = await jiraClient(source);
  let nextPageToken;
  do {
    const page = await jira.issueSearch.searchForIssuesUsingJqlEnhancedSearchPost({ jql, nextPageToken, maxResults: 10, fields: ["summary"] });
    yield page.issues.map((issue) => issue.key);
    nextPageToken = page.nextPageToken;
  } while (nextPageToken);
}
