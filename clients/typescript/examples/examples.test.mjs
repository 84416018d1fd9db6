// Runs each example against a `holdfast dev`. In the middle an hour passes at the provider,
// of which neither the broker nor the client knows: the token that both believe in is
// refused from one page to the next.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import { Client } from "@holdfast-io/client";

import { startDev } from "./dev.mjs";

const major = Number(process.versions.node.split(".")[0]);

async function endTokens(apiBaseUrl) {
  const answer = await fetch(new URL("/_sim/clock/advance", apiBaseUrl), { method: "POST", body: '{"by":"61m"}' });
  assert.equal(answer.status, 200, await answer.text());
}

const all = [
  { file: "./jira-5.mjs", node: 20, grant: "acme/automation/jira", pages: (m, s) => m.issueKeys(s, "project = OPS ORDER BY key"), items: 25 },
  { file: "./confluence-2.mjs", node: 20, grant: "acme/automation/confluence", pages: (m, s) => m.pageTitles(s), items: 50 },
  { file: "./jira.mjs", node: 22, grant: "acme/automation/jira", pages: (m, s) => m.issueKeys(s, "project = OPS ORDER BY key"), items: 25 },
  { file: "./confluence.mjs", node: 22, grant: "acme/automation/confluence", pages: (m, s) => m.pageTitles(s), items: 50 },
];

for (const { file, grant, pages, items } of all.filter((e) => e.node <= major)) {
  test(`${file} does not notice that a token ends between two pages`, async (t) => {
    const dev = await startDev();
    t.after(dev.stop);
    const client = new Client(dev.options);
    t.after(() => client.close());
    const source = client.tokenSource(grant);
    const before = await source.token();
    const seen = [];
    for await (const page of pages(await import(file), source)) {
      if (seen.length === 0) await endTokens(before.apiBaseUrl);
      assert.ok(page.length <= 10);
      seen.push(...page);
    }
    assert.equal(seen.length, items);
    assert.equal(new Set(seen).size, items);
    assert.ok((await source.token()).generation > before.generation, "the token was replaced");
  });
}

/** A source whose first token is refused, though only once the second has been used. */
function twoTokens(apiBaseUrl) {
  const given = [], rejected = [];
  return {
    reported: rejected,
    apiBaseUrl: async () => apiBaseUrl,
    token: async () => {
      given.push({ value: `token-${given.length + 1}` });
      return given.at(-1);
    },
    rejected: async (token) => {
      rejected.push(token.value);
      return given.at(-1);
    },
  };
}

for (const { file } of all.filter((e) => e.node === 22 && e.node <= major)) {
  test(`${file} reports the token that was refused, and not a newer one of another request`, async (t) => {
    let second;
    const used = new Promise((resolve) => (second = resolve));
    const api = createServer(async (request, response) => {
      const old = request.headers.authorization === "Bearer token-1";
      if (old) await used;
      else second();
      response.writeHead(old ? 401 : 200, { "content-type": "application/json" });
      response.end('{"issues": [], "results": [], "_links": {}}');
    }).listen(0, "127.0.0.1");
    t.after(() => api.close().closeAllConnections());
    await new Promise((resolve) => api.once("listening", resolve));
    const source = twoTokens(`http://127.0.0.1:${api.address().port}`);
    const example = await import(file);
    const client = await (example.jiraClient ?? example.confluenceClient)(source);
    const ask = () => client.issueSearch?.searchAndReconsileIssuesUsingJql({ jql: "x" }) ?? client.page.getPages({});
    await Promise.all([ask(), ask()]);
    assert.deepEqual(source.reported, ["token-1"]);
  });
}
