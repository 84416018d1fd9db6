import assert from "node:assert/strict";
import { test } from "node:test";

import { CallerNotAllowed, type WatchEvent } from "../src/index.js";
import { FakeBroker } from "../src/testing/index.js";

const minute = 60_000;

/** Collects what a watch yields, as short words. */
function collect(events: AsyncIterable<WatchEvent>): { seen: string[]; ended: Promise<unknown> } {
  const seen: string[] = [];
  const ended = (async () => {
    for await (const e of events) seen.push(e.type === "token" ? String(e.token.generation) : e.error.reason);
  })();
  return { seen, ended };
}

test("a watch yields the present token, each newer one, and why there is none", async () => {
  const fake = new FakeBroker();
  const client = fake.client();
  const { seen, ended } = collect(client.tokenSource("acme/automation/jira").watch());
  await fake.clock.advance(0);
  fake.rotate();
  await fake.clock.advance(0);
  fake.refuse("CONSENT_REQUIRED", { code: "FAILED_PRECONDITION", link: "https://connect.test" });
  await fake.clock.advance(0);
  fake.allow();
  fake.rotate();
  await fake.clock.advance(0);
  assert.deepEqual(seen, ["1", "2", "CONSENT_REQUIRED", "3"]);
  await client.close();
  await ended;
});

test("a source with watch asks for nothing as long as its stream brings tokens", async () => {
  const fake = new FakeBroker();
  const client = fake.client();
  const source = client.tokenSource("acme/automation/jira", { watch: true });
  await fake.clock.advance(0);
  for (let generation = 1; generation <= 10; generation++) {
    assert.equal((await source.token()).generation, generation);
    await fake.clock.advance(6 * minute);
    fake.rotate();
    await fake.clock.advance(0);
  }
  assert.equal(fake.calls, 0);
  await client.close();
  assert.equal(fake.clock.pending, 0);
});

test("while the stream is broken the source asks, and the stream comes back by itself", async () => {
  const fake = new FakeBroker();
  const client = fake.client();
  const source = client.tokenSource("acme/automation/jira", { watch: true });
  await fake.clock.advance(0);
  fake.disappear();
  await fake.clock.advance(6 * minute);
  const old = await source.token();
  assert.equal(old.generation, 1);
  assert.ok(fake.calls > 0, "it asks by itself");
  fake.allow();
  await fake.clock.advance(minute);
  fake.rotate();
  await fake.clock.advance(0);
  assert.equal(source.peek()?.generation, 2);
  await client.close();
});

test("a final reason drops the token of a watching source, a passing one does not", async () => {
  const fake = new FakeBroker();
  const client = fake.client();
  const source = client.tokenSource("acme/automation/jira", { watch: true });
  await fake.clock.advance(0);
  fake.refuse("PROVIDER_UNAVAILABLE", { code: "UNAVAILABLE", retryAfterMs: 1000 });
  await fake.clock.advance(0);
  assert.equal(source.peek()?.generation, 1);
  fake.refuse("GRANT_REVOKED", { code: "FAILED_PRECONDITION" });
  await fake.clock.advance(0);
  assert.equal(source.peek(), undefined);
  await assert.rejects(source.token(), { reason: "GRANT_REVOKED" });
  await client.close();
});

test("leaving the loop ends the stream; so does the signal", async () => {
  const fake = new FakeBroker();
  const client = fake.client();
  const source = client.tokenSource("acme/automation/jira");
  for await (const event of source.watch()) {
    assert.equal(event.type, "token");
    break;
  }
  assert.equal(fake.clock.pending, 0);
  const stop = new AbortController();
  const { ended } = collect(source.watch({ signal: stop.signal }));
  await fake.clock.advance(0);
  stop.abort();
  await ended;
  assert.equal(fake.clock.pending, 0);
});

test("what a stream ends with for good is thrown", async () => {
  const fake = new FakeBroker();
  const watch = fake.client().tokenSource("acme/automation/jira").watch();
  const broken = new CallerNotAllowed({ code: "PERMISSION_DENIED" });
  assert.equal((await watch.next()).done, false);
  fake.endStreams(broken);
  await assert.rejects(watch.next(), CallerNotAllowed);
});

test("a watch that gets no stream says why, once, and goes on", async () => {
  const fake = new FakeBroker();
  const client = fake.client();
  fake.disappear();
  const { seen, ended } = collect(client.tokenSource("acme/automation/jira").watch());
  await fake.clock.advance(10 * minute);
  assert.deepEqual(seen, ["UNREACHABLE"]);
  fake.allow();
  await fake.clock.advance(minute);
  assert.deepEqual(seen, ["UNREACHABLE", "1"]);
  fake.disappear();
  await fake.clock.advance(45 * minute);
  assert.deepEqual(seen, ["UNREACHABLE", "1"], "while the token lives nobody is without one");
  await fake.clock.advance(6 * minute);
  assert.deepEqual(seen, ["UNREACHABLE", "1", "UNREACHABLE"]);
  await client.close();
  await ended;
});

test("what made up for an error while the stream was broken brings the token again, though it is the same", async () => {
  const fake = new FakeBroker();
  const client = fake.client();
  const { seen, ended } = collect(client.tokenSource("acme/automation/jira").watch());
  await fake.clock.advance(0);
  fake.refuse("PROVIDER_UNAVAILABLE", { code: "UNAVAILABLE", retryAfterMs: 1000 });
  await fake.clock.advance(0);
  fake.disappear();
  await fake.clock.advance(0);
  fake.allow();
  await fake.clock.advance(minute);
  assert.deepEqual(seen, ["1", "PROVIDER_UNAVAILABLE", "1"]);
  await client.close();
  await ended;
});

for (const { reason, code, more } of [
  { reason: "CONSENT_REQUIRED", code: "FAILED_PRECONDITION", more: { why: "REFUSED", link: "https://connect.test" } },
  { reason: "SITE_NOT_GRANTED", code: "FAILED_PRECONDITION", more: { sites: ["one", "two"], link: "https://connect.test" } },
  { reason: "SCOPE_NOT_GRANTED", code: "FAILED_PRECONDITION", more: { missing: ["a", "b"] } },
  { reason: "GRANT_REVOKED", code: "FAILED_PRECONDITION", more: { requestId: "r1" } },
  { reason: "INTERNAL", code: "INTERNAL", more: {} },
  { reason: "PROVIDER_UNAVAILABLE", code: "UNAVAILABLE", more: { retryAfterMs: 1500 } },
  { reason: "PROVIDER_RATE_LIMITED", code: "RESOURCE_EXHAUSTED", more: { retryAfterMs: 1500 } },
]) {
  test(`on a stream ${reason} has the code and all else that a call would have`, async () => {
    const fake = new FakeBroker();
    const client = fake.client();
    fake.refuse(reason, { code, message: "of the broker", ...more });
    const source = client.tokenSource("acme/automation/jira");
    const called: unknown = await source.token().catch((err: unknown) => err);
    for await (const event of source.watch()) {
      assert.ok(event.type === "unavailable");
      const { error } = event;
      for (const key of ["name", "message", "reason", "code", "temporary", "retryAfterMs", "requestId", "why", "link", "sites", "missing"]) {
        assert.deepEqual((error as unknown as Record<string, unknown>)[key], (called as Record<string, unknown>)[key], key);
      }
      break;
    }
    await client.close();
  });
}
