import assert from "node:assert/strict";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";

import { ErrorReason } from "../src/gen/holdfast/v1/error_reason_pb.js";
import {
  GetAccessTokenResponseSchema, WatchAccessTokenResponseSchema, type GetAccessTokenResponse,
} from "../src/gen/holdfast/v1/token_service_pb.js";
import { CallerNotAllowed, Client, ClientClosed, HoldfastError, Unreachable, type WatchEvent } from "../src/index.js";
import { FakeBroker, FakeClock } from "../src/testing/index.js";

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

test("a passing reason on a stream holds off calls for as long as the broker says", async () => {
  const fake = new FakeBroker();
  const client = fake.client();
  const source = client.tokenSource("acme/automation/jira", { watch: true });
  await fake.clock.advance(8 * minute); // a caller would have it renewed
  fake.refuse("PROVIDER_UNAVAILABLE", { retryAfterMs: 30_000 });
  await fake.clock.advance(29_000);
  assert.equal((await source.token()).generation, 1);
  assert.equal(fake.calls, 0);
  await fake.clock.advance(1000);
  assert.equal((await source.token()).generation, 1);
  assert.equal(fake.calls, 1);
  await fake.clock.advance(60 * minute);
  fake.refuse("PROVIDER_UNAVAILABLE", { retryAfterMs: 20_000 });
  await fake.clock.advance(0);
  await assert.rejects(source.token(), { reason: "PROVIDER_UNAVAILABLE" });
  assert.equal(fake.calls, 1, "without a token callers get the stream's reason");
  fake.allow();
  await fake.clock.advance(0);
  assert.equal((await source.token()).generation, 2, "and a token that comes ends the time");
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

test("a watching source opens another stream a second after one that ended for good, or when the broker says, at most a minute later", async () => {
  const fake = new FakeBroker();
  const client = fake.client();
  const source = client.tokenSource("acme/automation/jira", { watch: true });
  await fake.clock.advance(0);
  fake.endStreams(new CallerNotAllowed({ code: "PERMISSION_DENIED" }));
  await fake.clock.advance(0);
  await fake.clock.advance(1500); // it is spread
  assert.equal(source.peek()?.generation, 1);
  assert.equal(fake.calls, 0, "by a stream");
  fake.endStreams(new HoldfastError("STREAM_ENDED", { code: "UNAVAILABLE", retryAfterMs: 60 * minute }));
  await fake.clock.advance(0);
  fake.rotate();
  await fake.clock.advance(minute - 1);
  assert.equal(source.peek()?.generation, 1);
  await fake.clock.advance(minute / 2 + 1);
  assert.equal(source.peek()?.generation, 2);
  assert.equal(fake.calls, 0);
  await client.close();
});

// Of a proxy that is being replaced, or of one of several brokers that is older.
test("a stream that is answered UNIMPLEMENTED is opened again a second later, as any other that no broker ended", async () => {
  const fake = new FakeBroker();
  const client = fake.client();
  const source = client.tokenSource("acme/automation/jira", { watch: true });
  await fake.clock.advance(0);
  const { seen, ended } = collect(client.tokenSource("acme/automation/confluence").watch());
  await fake.clock.advance(0);
  fake.endStreams(new Unreachable({ code: "UNIMPLEMENTED" }));
  await fake.clock.advance(0);
  fake.rotate();
  await fake.clock.advance(1500); // it is spread
  assert.equal(source.peek()?.generation, 2);
  assert.equal(fake.calls, 0, "by a stream");
  assert.deepEqual(seen, ["1", "2"]);
  await client.close();
  await ended;
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

test("a call that was answered before the stream told of the end does not bring the token back", async () => {
  const clock = new FakeClock();
  const now = clock.wall();
  const answer = (generation: bigint) => create(GetAccessTokenResponseSchema, {
    accessToken: "t", generation, serverTime: timestampFromMs(now), expiresAt: timestampFromMs(now + 60 * minute),
  });
  let arrive: (a: GetAccessTokenResponse) => void = () => undefined;
  let revoke: () => void = () => undefined;
  const revoked = new Promise<void>((resolve) => (revoke = resolve));
  const client = new Client({ clock, broker: {
    getAccessToken: (_, options) => new Promise((resolve, reject) => {
      arrive = resolve;
      options?.signal?.addEventListener("abort", () => { reject(new ClientClosed()); });
    }),
    reportRejectedToken: () => Promise.reject(new Error("not called")),
    async *watchAccessToken(_, options) {
      await revoked;
      const value = { reason: ErrorReason.GRANT_REVOKED, message: "revoked" };
      yield create(WatchAccessTokenResponseSchema, { event: { case: "unavailable", value } });
      await new Promise((resolve) => options?.signal?.addEventListener("abort", resolve));
    },
  } });
  const source = client.tokenSource("acme/automation/jira", { watch: true });
  const call = source.token();
  await clock.advance(0);
  revoke();
  await clock.advance(0);
  arrive(answer(1n));
  await call;
  assert.equal(source.peek(), undefined);
  await client.close();
});

test("the end of one watch is not the end of the source's own", async () => {
  const fake = new FakeBroker();
  const client = fake.client();
  const source = client.tokenSource("acme/automation/jira", { watch: true });
  await fake.clock.advance(0);
  for await (const event of source.watch()) {
    assert.equal(event.type, "token");
    break;
  }
  await fake.clock.advance(6 * minute);
  await source.token();
  assert.equal(fake.calls, 0, "the stream brings what is newer");
  await client.close();
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
    fake.refuse(reason, { message: "of the broker", ...more });
    const source = client.tokenSource("acme/automation/jira");
    const called: unknown = await source.token().catch((err: unknown) => err);
    assert.equal((called as HoldfastError).code, code, "also of the fake's call, which was told none");
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
