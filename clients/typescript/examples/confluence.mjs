// confluence.js, version 3 (Node 22 and later): it asks for a token before each request.
import { createV2Client } from "confluence.js";
import { createClient } from "confluence.js/core";

/** A Confluence client whose requests carry a token of the source. */
export async function confluenceClient(source) {
  const host = await source.apiBaseUrl();
  return createV2Client({
    sendRequest: (request) => {
      let last; // of this request alone: others that are under way may have another one
      const getToken = async () => (last = await source.token()).value;
      // A 401 is reported, and the request sent again with a newer token if there is one.
      const getAuthOn401 = async () => ({ type: "bearer", token: ((await source.rejected(last)) ?? last).value });
      return createClient({ host, auth: { type: "bearer", getToken }, getAuthOn401 }).sendRequest(request);
    },
  });
}

/** The titles of all pages, a list for each answer. */
export async function* pageTitles(source) {
  const confluence = await confluenceClient(source);
  let cursor;
  do {
    const answer = await confluence.page.getPages({ limit: 10, cursor });
    yield answer.results.map((page) => page.title);
    const next = answer._links?.next;
    cursor = next && new URL(next, "https://any.test").searchParams.get("cursor");
  } while (cursor);
}
