/**
 * What a cached call costs, beside plain look-ups in a Map, measured in turns in the same
 * run:
 *
 * - `await source.token()` against `await` of an async function that does one look-up:
 *   the same, with the same asynchrony and no cache around it;
 * - `source.peek()`, which needs no await, against one synchronous look-up.
 *
 * Fails if one of them is more than 5 times as dear, by the median of the turns' ratios.
 * Calls that lie more than a millisecond apart read two clocks instead of one; what peek
 * costs with both is printed as well.
 */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";

import { GetAccessTokenResponseSchema } from "../src/gen/holdfast/v1/token_service_pb.js";
import { systemClock, type Clock } from "../src/clock.js";
import { Client, type TokenSource } from "../src/index.js";

const most = 5, warmUp = 4, turns = 21, calls = 100_000;

interface Contestant {
  run(n: number): Promise<void> | void;
  readonly nanoseconds: number[];
}

/** A source with a token in its cache. */
async function cached(clock: Clock): Promise<TokenSource> {
  const now = Date.now();
  const answer = create(GetAccessTokenResponseSchema, {
    accessToken: "x".repeat(2048), generation: 1n, apiBaseUrl: "https://api.test", serverTime: timestampFromMs(now),
    expiresAt: timestampFromMs(now + 3_600_000), guaranteedUntil: timestampFromMs(now + 600_000), refreshAfter: timestampFromMs(now + 300_000),
  });
  const broker = { getAccessToken: () => Promise.resolve(answer), reportRejectedToken: never, watchAccessToken: never };
  const source = new Client({ broker, clock }).tokenSource("acme/automation/jira");
  await source.token();
  return source;
}

function never(): never {
  throw new Error("not called");
}

let sink: unknown; // so that nothing is optimised away

async function main(): Promise<void> {
  const source = await cached(systemClock);
  const exact = await cached({ ...systemClock, monotonicAt: undefined });
  const map = new Map(Array.from({ length: 100 }, (_, i) => [`acme/automation/grant-${String(i)}`, { token: i }]));
  const keys = [...map.keys()];
  // eslint-disable-next-line @typescript-eslint/require-await -- the asynchrony is what is measured
  const lookUp = async (key: string) => map.get(key);
  const key = (i: number) => keys[i % keys.length] ?? "";

  // One after the other in each turn, so that what else the machine does meets all alike.
  const token = { run: async (n: number) => { for (let i = 0; i < n; i++) sink = await source.token(); }, nanoseconds: [] };
  const awaited = { run: async (n: number) => { for (let i = 0; i < n; i++) sink = await lookUp(key(i)); }, nanoseconds: [] };
  const peek = { run: (n: number) => { for (let i = 0; i < n; i++) sink = source.peek(); }, nanoseconds: [] };
  const plain = { run: (n: number) => { for (let i = 0; i < n; i++) sink = map.get(key(i)); }, nanoseconds: [] };
  const both = { run: (n: number) => { for (let i = 0; i < n; i++) sink = exact.peek(); }, nanoseconds: [] };
  const contestants: Contestant[] = [token, awaited, peek, plain, both];
  for (let turn = -warmUp; turn < turns; turn++) {
    for (const c of contestants) {
      const began = process.hrtime.bigint();
      await c.run(calls);
      if (turn >= 0) c.nanoseconds.push(Number(process.hrtime.bigint() - began) / calls); // the first turns warm up
    }
  }
  console.log(`cached call, Node ${process.version}, median of ${String(turns)} turns, at most ${String(most)} times:`);
  const dear = [
    compare("await source.token()", token, "await of one Map look-up", awaited),
    compare("source.peek()", peek, "one Map look-up", plain),
  ].some((ratio) => !(ratio <= most));
  compare("source.peek() with both clocks", both, "one Map look-up", plain);
  if (sink === undefined || dear) process.exitCode = 1;
}

/** Prints and returns how many times as dear the first one is. */
function compare(name: string, a: Contestant, than: string, b: Contestant): number {
  const ratio = median(a.nanoseconds.map((ns, turn) => ns / (b.nanoseconds[turn] ?? NaN)));
  console.log(`  ${name} ${median(a.nanoseconds).toFixed(0)} ns, ${than} ${median(b.nanoseconds).toFixed(0)} ns: ${ratio.toFixed(2)} times`);
  return ratio;
}

function median(of: readonly number[]): number {
  return [...of].sort((a, b) => a - b)[of.length >> 1] ?? NaN;
}

await main();
