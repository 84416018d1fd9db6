import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";

import { fetchWith } from "../src/fetch.js";
import { RefusedOrigin } from "../src/index.js";
import { FakeBroker } from "../src/testing/index.js";

interface Seen {
  readonly token: string | undefined;
  readonly method: string;
  readonly url: string;
  readonly body: string;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

/** A server that records what it sees and answers by `answer`; it ends with the test. */
async function serve(t: TestContext, answer: (seen: Seen) => { status: number; location?: string; body?: string }) {
  const seen: Seen[] = [];
  const listener: RequestListener = (request, response) => void (async () => {
    const one = {
      token: request.headers.authorization?.replace("Bearer fake-token-", ""),
      method: request.method ?? "", url: request.url ?? "", body: await bodyOf(request),
    };
    seen.push(one);
    const { status, location, body } = answer(one);
    response.writeHead(status, { connection: "close", ...(location === undefined ? {} : { location }) });
    response.end(body ?? "");
  })();
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => { server.close(); server.closeAllConnections(); });
  return { seen, url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}` };
}

/** A broker whose grant has its API at the URL. */
function broker(t: TestContext, apiBaseUrl: string) {
  const fake = new FakeBroker({ apiBaseUrl });
  const client = fake.client();
  t.after(() => client.close());
  return { fake, source: client.tokenSource("acme/automation/jira") };
}

test("relative URLs are resolved under the API base URL, with the token", async (t) => {
  const api = await serve(t, () => ({ status: 200, body: "hello" }));
  const { source } = broker(t, `${api.url}/ex/jira/cloud-1`);
  for (const { url, path } of [
    { url: "/rest/api/3/myself", path: "/ex/jira/cloud-1/rest/api/3/myself" },
    { url: "rest/x?jql=a%2Fb&c=../d#e", path: "/ex/jira/cloud-1/rest/x?jql=a%2Fb&c=../d" },
    { url: `${api.url}/other`, path: "/other" },
  ]) {
    const answer = await source.fetch(url);
    assert.equal(await answer.text(), "hello");
    assert.deepEqual({ url: api.seen.at(-1)?.url, token: api.seen.at(-1)?.token }, { url: path, token: "1" });
  }
  const own = await source.fetch(new Request(`${api.url}/r`, { headers: { authorization: "Basic x", "x-y": "z" } }));
  assert.equal(own.status, 200);
  assert.equal(api.seen.at(-1)?.token, "1");
});

for (const url of [
  "http://127.0.0.1:1/", "https://127.0.0.1/", "//evil.test/x", "\\\\evil.test/x", "/../x", "/%2e%2e/x", "/a/../../x", "..", "file:///etc/passwd",
  "data:text/plain,x", "http://api.test@evil.test/",
]) {
  test(`the token is not sent to ${url}`, async () => {
    const fake = new FakeBroker({ apiBaseUrl: "http://api.test/ex/jira/cloud-1" });
    const sent: string[] = [];
    const fetch = fake.client().tokenSource("acme/automation/jira").createFetch({
      fetch: (input) => { sent.push(input instanceof Request ? input.url : input.toString()); return Promise.resolve(new Response()); },
    });
    await assert.rejects(fetch(url), RefusedOrigin);
    assert.deepEqual(sent, []);
  });
}

test("configured origins take the place of the default", async (t) => {
  const api = await serve(t, () => ({ status: 200 }));
  const { source } = broker(t, "http://elsewhere.test/base");
  const fetch = source.createFetch({ origins: [`${api.url}/any/path`] });
  assert.equal((await fetch(`${api.url}/x`)).status, 200);
  await assert.rejects(fetch("/x"), RefusedOrigin);
});

test("an empty list of origins is no choice: the default counts", async (t) => {
  const api = await serve(t, () => ({ status: 200 }));
  const { source } = broker(t, `${api.url}/base`);
  const fetch = source.createFetch({ origins: [] });
  assert.equal((await fetch("/x")).status, 200);
  await assert.rejects(fetch("http://127.0.0.1:9/x"), RefusedOrigin);
});

test("a grant without a site has no base, and no default origin", async (t) => {
  const { source } = broker(t, "");
  await assert.rejects(source.fetch("/x"), RefusedOrigin);
  await assert.rejects(source.fetch("http://127.0.0.1:9/x"), RefusedOrigin);
  await assert.rejects(source.apiBaseUrl(), /option site/);
});

test("a redirect elsewhere is followed without the token, and its 401 is not held against it", async (t) => {
  const elsewhere = await serve(t, () => ({ status: 401 }));
  const api = await serve(t, () => ({ status: 302, location: `${elsewhere.url}/download` }));
  const { fake, source } = broker(t, api.url);
  const answer = await source.fetch("/attachment");
  assert.equal(answer.status, 401);
  assert.deepEqual(elsewhere.seen.map((s) => s.token), [undefined]);
  assert.deepEqual(fake.reports, []);
});

for (const { name, back } of [
  { name: "to another origin that may see the token", back: false },
  { name: "there and back again", back: true },
]) {
  test(`a redirect ${name} is followed without the token, and its 401 is the answer`, async (t) => {
    const elsewhere = await serve(t, () => (back ? { status: 302, location: `${api.url}/end` } : { status: 401 }));
    const api = await serve(t, ({ url }) => (url === "/end" ? { status: 401 } : { status: 302, location: `${elsewhere.url}/x` }));
    const { fake, source } = broker(t, api.url);
    const fetch = source.createFetch({ origins: [api.url, elsewhere.url] });
    for (const input of [`${api.url}/begin`, new Request(`${api.url}/begin`)]) {
      api.seen.length = elsewhere.seen.length = 0;
      assert.equal((await fetch(input)).status, 401);
      assert.deepEqual(api.seen.map((s) => [s.url, s.token]), back ? [["/begin", "1"], ["/end", undefined]] : [["/begin", "1"]]);
      assert.deepEqual(elsewhere.seen.map((s) => s.token), [undefined]);
    }
    assert.deepEqual(fake.reports, []);
  });
}

for (const [method, sent] of [["POST", ["POST /make", "GET /made"]], ["GET", ["GET /make", "GET /made", "GET /made"]]] as const) {
  test(`a ${method} whose redirect ends in a 401 is ${method === "POST" ? "not sent again" : "sent again where the redirect led"}`, async (t) => {
    const api = await serve(t, ({ url, token }) => {
      if (url === "/made") return { status: token === "1" ? 401 : 200 };
      return { status: 303, location: "/made" };
    });
    const { fake, source } = broker(t, api.url);
    const answer = await source.fetch("/make", { method });
    assert.equal(answer.status, method === "POST" ? 401 : 200);
    assert.deepEqual(api.seen.map((s) => `${s.method} ${s.url}`), sent);
    assert.deepEqual(fake.reports, [1]);
  });
}

test("a Request that is sent again where its redirect led keeps all but its URL", async (t) => {
  const headers: unknown[] = [];
  const { source } = broker(t, "http://api.test");
  const fetch = source.createFetch({
    fetch: (input, init) => {
      const request = new Request(input, init);
      headers.push([request.method, request.url, request.headers.get("x-y"), request.headers.get("authorization")]);
      const answer = new Response("", { status: headers.length === 1 ? 401 : 200 });
      for (const [name, value] of [["url", "http://api.test/moved"], ["redirected", true], ["type", "basic"]] as const) {
        Object.defineProperty(answer, name, { value });
      }
      return Promise.resolve(answer);
    },
  });
  assert.equal((await fetch(new Request("http://api.test/x", { method: "HEAD", headers: { "x-y": "z" } }))).status, 200);
  assert.deepEqual(headers, [
    ["HEAD", "http://api.test/x", "z", "Bearer fake-token-1"], ["HEAD", "http://api.test/moved", "z", "Bearer fake-token-2"],
  ]);
});

test("a 401 is reported once and the request sent once more with the newer token", async (t) => {
  const api = await serve(t, ({ token }) => ({ status: token === "1" ? 401 : 200 }));
  const { fake, source } = broker(t, api.url);
  const answers = await Promise.all(Array.from({ length: 10 }, () => source.fetch("/x", { method: "POST", body: "text" })));
  assert.deepEqual(answers.map((a) => a.status), Array.from({ length: 10 }, () => 200));
  assert.deepEqual(fake.reports, [1]);
  assert.ok(api.seen.every((s) => s.body === "text" && s.method === "POST"));
});

test("a 401 that no newer token cures is the answer", async (t) => {
  const api = await serve(t, () => ({ status: 401, body: "scope does not match" }));
  const { fake, source } = broker(t, api.url);
  fake.verdict = "accepted";
  for (let i = 0; i < 3; i++) assert.equal(await (await source.fetch("/x")).text(), "scope does not match");
  assert.equal(api.seen.length, 3);
  assert.deepEqual(fake.reports, [1]);
});

test("a newer token that is for another site meanwhile does not go to the old one", async (t) => {
  const api = await serve(t, () => ({ status: 401 }));
  const old = broker(t, `${api.url}/ex/jira/cloud-1`).source;
  const other = broker(t, "http://api.elsewhere.test/ex/jira/cloud-2").source;
  const tokens = { token: () => old.token(), rejected: () => other.token() };
  assert.equal((await fetchWith(tokens, {})("/x")).status, 401);
  assert.equal(api.seen.length, 1);
  assert.equal((await fetchWith(tokens, { origins: [api.url] })("/x")).status, 401);
  assert.equal(api.seen.length, 3, "a chosen origin may see both");
});

const text = "a body";
const bodies: { name: string; init: () => RequestInit & { duplex?: "half" }; again: boolean }[] = [
  { name: "a string", init: () => ({ body: text }), again: true },
  { name: "bytes", init: () => ({ body: new TextEncoder().encode(text) }), again: true },
  { name: "a Blob", init: () => ({ body: new Blob([text]) }), again: true },
  { name: "a form", init: () => ({ body: new URLSearchParams({ [text]: "" }) }), again: true },
  { name: "a stream", init: () => ({ body: new Blob([text]).stream() as ReadableStream<Uint8Array>, duplex: "half" }), again: false },
];
for (const { name, init, again } of bodies) {
  test(`${name} is sent ${again ? "again" : "once"} after a 401`, async (t) => {
    const api = await serve(t, ({ token }) => ({ status: token === "1" ? 401 : 200 }));
    const { fake, source } = broker(t, api.url);
    const answer = await source.fetch("/x", { method: "POST", ...init() });
    assert.equal(answer.status, again ? 200 : 401);
    assert.equal(api.seen.length, again ? 2 : 1);
    assert.equal(new Set(api.seen.map((s) => s.body)).size, 1);
    assert.deepEqual(fake.reports, [1], "reported in any case: the next request profits");
  });
}

test("a Request with a body is sent again after a 401", async (t) => {
  const api = await serve(t, ({ token }) => ({ status: token === "1" ? 401 : 200 }));
  const { source } = broker(t, api.url);
  for (let i = 0; i < 2; i++) {
    const answer = await source.fetch(new Request(`${api.url}/x`, { method: "PUT", body: text, headers: { "content-type": "text/x" } }));
    assert.equal(answer.status, 200);
  }
  assert.deepEqual(api.seen.map((s) => s.body), [text, text, text]);
});

test("the request's signal ends the waiting for a token", async (t) => {
  const { fake, source } = broker(t, "http://127.0.0.1:9");
  fake.delayMs = 1000;
  await assert.rejects(source.fetch("/x", { signal: AbortSignal.abort() }), { name: "AbortError" });
});

test("a 401 whose body breaks is cured as any other", async (t) => {
  const { source } = broker(t, "http://api.test");
  const fetch = source.createFetch({
    fetch: (_, init) => Promise.resolve(new Headers(init?.headers).get("authorization") === "Bearer fake-token-1"
      ? new Response(new ReadableStream({ start(c) { c.error(new Error("connection reset")); } }), { status: 401 })
      : new Response("cured")),
  });
  assert.equal(await (await fetch("/x")).text(), "cured");
});

test("the body of a Request that cannot be sent is let go", async (t) => {
  const { source } = broker(t, "http://api.test");
  let cancelled = false;
  const body = new ReadableStream({ cancel() { cancelled = true; } });
  const request = new Request("http://api.test/x", { method: "POST", body, duplex: "half" });
  const fetch = source.createFetch({
    fetch: (input) => {
      if (input instanceof Request) void input.body?.cancel();
      return Promise.reject(new TypeError("fetch failed"));
    },
  });
  await assert.rejects(fetch(request), TypeError);
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(cancelled, "nothing holds it any more");
});
