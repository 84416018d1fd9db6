import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { inspect } from "node:util";

import { oncePerTick, systemClock } from "../src/clock.js";
import { ClientClosed, ConsentRequired, GrantNotFound, InvalidRequest, Unreachable } from "../src/index.js";
import { FakeBroker } from "../src/testing/index.js";

const minute = 60_000;

function begin(lifetimeMs?: number) {
  const fake = new FakeBroker(lifetimeMs === undefined ? {} : { lifetimeMs });
  const client = fake.client();
  return { fake, client, source: client.tokenSource("acme/automation/jira") };
}

test("a cached token is handed out without asking, as the same object", async () => {
  const { fake, source } = begin();
  const first = await source.token();
  assert.equal(first.value, "fake-token-1");
  await fake.clock.advance(4 * minute);
  assert.equal(await source.token(), first);
  assert.equal(source.peek(), first);
  assert.equal(fake.calls, 1);
});

test("500 concurrent calls are one call to the broker", async () => {
  const { fake, source } = begin();
  fake.delayMs = 50;
  const calls = Array.from({ length: 500 }, () => source.token());
  await fake.clock.advance(50);
  const tokens = await Promise.all(calls);
  assert.equal(new Set(tokens).size, 1);
  assert.equal(fake.calls, 1);
});

test("past refresh_after one call goes on in the background and nobody waits", async () => {
  const { fake, source } = begin();
  const old = await source.token();
  await fake.clock.advance(6 * minute);
  fake.rotate();
  fake.delayMs = 1000;
  assert.equal(source.peek(), old);
  assert.equal(await source.token(), old);
  assert.equal(fake.calls, 2);
  await fake.clock.advance(1000);
  assert.equal((await source.token()).generation, 2);
});

test("a broker that is gone costs callers nothing until the token expires, and an error after", async () => {
  const { fake, source } = begin();
  const old = await source.token();
  fake.disappear();
  await fake.clock.advance(30 * minute);
  assert.equal(await source.token(), old, "past the guarantee");
  await fake.clock.advance(30 * minute - 1);
  assert.equal(await source.token(), old, "in the last moment");
  await fake.clock.advance(1);
  await assert.rejects(source.token(), Unreachable);
  fake.allow();
  await fake.clock.advance(1000); // the pause after a failure
  assert.equal((await source.token()).generation, 2);
});

test("past the guarantee a silent broker is waited for, 2 s, while the old token lives", async () => {
  const { fake, source } = begin();
  const old = await source.token();
  await fake.clock.advance(20 * minute);
  fake.delayMs = 10_000;
  let got: unknown;
  void source.token().then((t) => (got = t));
  await fake.clock.advance(1999);
  assert.equal(got, undefined);
  await fake.clock.advance(1);
  assert.equal(got, old);
});

test("a token that expires while a silent broker is waited for is not handed out", async () => {
  const { fake, source } = begin();
  await source.token();
  await fake.clock.advance(60 * minute - 1000);
  fake.delayMs = 10_000;
  fake.rotate();
  const call = source.token();
  await fake.clock.advance(10_000);
  assert.equal((await call).generation, 2);
});

test("failed background calls are repeated no sooner than the broker says", async () => {
  const { fake, source } = begin();
  await source.token();
  await fake.clock.advance(6 * minute);
  fake.refuse("STORE_UNAVAILABLE", { code: "UNAVAILABLE", retryAfterMs: 10_000 });
  for (let second = 0; second < 30; second++) {
    await source.token();
    await fake.clock.advance(1000);
  }
  assert.equal(fake.calls, 1 + 3, "at 0, 10 and 20 s");
});

test("a refusal is believed at once: the token is dropped and the error carries the link", async () => {
  const { fake, source } = begin();
  await source.token();
  await fake.clock.advance(6 * minute);
  fake.refuse("CONSENT_REQUIRED", { code: "FAILED_PRECONDITION", link: "https://connect.test/x", why: "REFUSED" });
  await source.token(); // sets off the call in the background
  await fake.clock.advance(0);
  await assert.rejects(source.token(), (err) => err instanceof ConsentRequired && err.link === "https://connect.test/x" && err.why === "REFUSED" && !err.temporary);
  assert.equal(source.peek(), undefined);
});

test("a refresh that is under way is waited for within the call's bound", async () => {
  const { fake, source } = begin();
  fake.refuse("REFRESH_IN_PROGRESS", { code: "UNAVAILABLE", retryAfterMs: 500 });
  const call = source.token();
  await fake.clock.advance(900);
  fake.allow();
  await fake.clock.advance(200);
  assert.equal((await call).generation, 1);
  assert.equal(fake.calls, 3);

  fake.refuse("REFRESH_IN_PROGRESS", { code: "UNAVAILABLE", retryAfterMs: 500 });
  await fake.clock.advance(61 * minute);
  const late = assert.rejects(source.token(), { reason: "REFRESH_IN_PROGRESS" });
  await fake.clock.advance(40_000);
  await late;
});

test("a caller's signal ends its own waiting, not the call of the others", async () => {
  const { fake, source } = begin();
  fake.delayMs = 1000;
  const impatient = new AbortController();
  const one = source.token({ signal: impatient.signal });
  const other = source.token();
  impatient.abort(new Error("enough"));
  await assert.rejects(one, /enough/);
  await fake.clock.advance(1000);
  assert.equal((await other).generation, 1);
  assert.equal(fake.calls, 1);
  await assert.rejects(source.token({ signal: AbortSignal.abort(new Error("before")) }), /before/);
});

for (const { name, ms, pass, calls } of [
  { name: "a wall clock set back makes no token older", ms: -2 * minute, pass: 0, calls: 1 },
  { name: "a wall clock set back makes no token younger", ms: -2 * minute, pass: 6 * minute, calls: 2 },
  { name: "a wall clock set forward, as after a suspension, makes tokens older", ms: 6 * minute, pass: 0, calls: 2 },
]) {
  test(name, async () => {
    const { fake, source } = begin();
    await source.token();
    fake.clock.setWall(ms);
    await fake.clock.advance(pass);
    await source.token();
    await fake.clock.advance(0);
    assert.equal(fake.calls, calls);
  });
}

test("a cached call reads the monotonic clock once for each millisecond of the wall clock, and in time where that stands still", () => {
  let now = 0, reads = 0;
  const at = oncePerTick(() => (reads++, now));
  assert.deepEqual([at(5), at(5), at(6), at(6)], [0, 0, 0, 0]);
  assert.equal(reads, 2);
  now = 1e9; // while the wall clock stands still, or was set back to where it was
  let calls = 0;
  while (calls <= 1000 && at(6) === 0) calls++;
  assert.ok(calls <= 1000, String(calls));
  now = 2e9;
  assert.equal(at(5), 2e9, "set back");
  assert.ok(systemClock.monotonicAt);
  assert.ok(Math.abs(systemClock.monotonicAt(NaN) - performance.now()) < 1000);
});

for (const { name, wall, pass } of [
  { name: "the wall clock that ran on alone", wall: 6 * minute, pass: 0 },
  { name: "the monotonic clock that ran on alone", wall: -6 * minute + 1, pass: 6 * minute },
  { name: "both clocks", wall: 0, pass: 6 * minute },
]) {
  test(`a cached call that reads one clock sees a token grow old by ${name}`, async () => {
    const { fake, source } = begin();
    Object.assign(fake.clock, { monotonicAt: oncePerTick(() => fake.clock.monotonic()) });
    const token = await source.token();
    for (let i = 0; i < 10; i++) assert.equal(source.peek(), token);
    fake.clock.setWall(wall);
    await fake.clock.advance(pass);
    assert.equal(source.peek(), token);
    await fake.clock.advance(0);
    assert.equal(fake.calls, 2, "one that is due is asked for");
  });
}

test("close ends calls under way, leaves no timer, and every later call says so", async () => {
  const { fake, client, source } = begin();
  fake.delayMs = 1000;
  const call = assert.rejects(source.token(), ClientClosed);
  const watched = client.tokenSource("acme/automation/jira", { watch: true });
  await fake.clock.advance(1);
  await client.close();
  await call;
  assert.equal(fake.clock.pending, 0);
  await assert.rejects(source.token(), ClientClosed);
  assert.equal(source.peek(), undefined);
  assert.throws(() => client.tokenSource("acme/automation/jira"), ClientClosed);
  await assert.rejects(watched.watch().next(), ClientClosed);
  await client.close();
});

test("a grant that does not parse is refused at once", () => {
  const { client } = begin();
  for (const bad of ["", "acme", "acme/x", "a/b/c/d/e", "a b/c/d", "grt_short"]) {
    assert.throws(() => client.tokenSource(bad), InvalidRequest, bad);
  }
  // JavaScript with a variable of the environment that is not set.
  assert.throws(() => client.tokenSource(undefined as unknown as string), (err) => err instanceof InvalidRequest && err.message.includes("grant is not set"));
  client.tokenSource("grt_aaaaaaaaaaaaaaaaaaaaaaaaaa");
  client.tokenSource("a@b/c+d/e_f/g-h");
});

test("a rejected token is reported once, and a newer one is fetched", async () => {
  const { fake, source } = begin();
  const bad = await source.token();
  const newer = await Promise.all(Array.from({ length: 20 }, () => source.rejected(bad)));
  assert.deepEqual(newer.map((t) => t?.generation), Array.from({ length: 20 }, () => 2));
  assert.deepEqual(fake.reports, [1]);
});

test("a token that the provider accepts stays, and is not reported again", async () => {
  const { fake, source } = begin();
  fake.verdict = "accepted";
  const token = await source.token();
  assert.equal(await source.rejected(token), undefined);
  assert.equal(await source.rejected(token), undefined);
  assert.deepEqual(fake.reports, [1]);
  assert.equal(await source.token(), token);
});

test("a report that failed is repeated no sooner than the broker says", async () => {
  const { fake, source } = begin();
  const token = await source.token();
  fake.refuse("UNREACHABLE", { retryAfterMs: 30_000 });
  assert.equal(await source.rejected(token), undefined);
  fake.allow();
  assert.equal(await source.rejected(token), undefined, "not yet");
  await fake.clock.advance(29_999);
  assert.equal(await source.rejected(token), undefined, "not yet");
  assert.deepEqual(fake.reports, []);
  await fake.clock.advance(1);
  assert.equal((await source.rejected(token))?.generation, 2);
  assert.deepEqual(fake.reports, [1]);
});

test("nothing is reported while the broker wants to be left alone", async () => {
  const { fake, source } = begin();
  const token = await source.token();
  fake.refuse("PROVIDER_RATE_LIMITED", { retryAfterMs: 30_000 });
  await fake.clock.advance(11 * minute);
  for (let i = 0; i < 3; i++) {
    assert.equal(await source.token(), token, "it has life left");
    assert.equal(await source.rejected(token), undefined);
    await fake.clock.advance(9000);
  }
  assert.deepEqual([fake.calls, fake.reports], [2, []]);
  fake.allow();
  await fake.clock.advance(4000);
  assert.equal((await source.token()).generation, 1, "the broker has no newer one");
  assert.equal((await source.rejected(token))?.generation, 2);
  assert.deepEqual([fake.calls, fake.reports], [4, [1]]);
});

test("hundreds of callers with one signal are no leak to Node, and leave it alone at the end", async (t) => {
  const warned: string[] = [];
  const note = (w: Error) => warned.push(w.message);
  process.on("warning", note);
  t.after(() => process.off("warning", note));
  const { fake, source } = begin();
  fake.delayMs = 1000;
  const stop = new AbortController();
  const calls = Array.from({ length: 100 }, () => source.token({ signal: stop.signal }));
  await fake.clock.advance(1000);
  await Promise.all(calls);
  assert.equal(getEventListeners(stop.signal, "abort").length, 0);
  await fake.clock.advance(61 * minute);
  const late = Array.from({ length: 100 }, () => assert.rejects(source.token({ signal: stop.signal }), /enough/));
  await fake.clock.advance(1);
  stop.abort(new Error("enough"));
  await Promise.all(late);
  assert.equal(getEventListeners(stop.signal, "abort").length, 0);
  await fake.clock.advance(1000);
  assert.deepEqual(warned, []);
});

test("nothing prints a token", async () => {
  const { source, client } = begin();
  const token = await source.token();
  const said = [token, source, client, { token }, [token], new Error("x", { cause: token })]
    .map((v) => inspect(v, { depth: 9, showHidden: true }) + JSON.stringify(v))
    .concat(token.toString(), source.toString())
    .join("\n");
  assert.doesNotMatch(said, /fake-token/);
  assert.match(said, /generation 1/);
});

test("nothing prints the link of an error", () => {
  const err = new ConsentRequired({ message: "consent", link: "https://connect.test/secret" });
  assert.doesNotMatch(inspect(err, { showHidden: true }) + JSON.stringify(err) + String(err), /secret/);
  assert.equal(new GrantNotFound().name, "GrantNotFound");
});
