// confluence.js, version 2, is built on axios, which takes the source's fetch.
import { ConfluenceClient } from "confluence.js-2"; // in your project: "confluence.js"

/** A Confluence client whose requests carry a token of the source. */
export async function confluenceClient(source) {
  return new ConfluenceClient({
    host: await source.apiBaseUrl(),
    baseRequestConfig: { adapter: "fetch", env: { fetch: source.fetch } },
  });
}

/** The titles of all pages, a list for each answer. */
export async function* pageTitles(source) {
  const confluence = await confluenceClient(source);
  const limit = 10;
  for (let start = 0, size = limit; size === limit; start += size) {
    const answer = await confluence.content.getContent({ type: "page", start, limit });
    size = answer.results.length;
    if (size > 0) yield answer.results.map((page) => page.title);
  }
}
