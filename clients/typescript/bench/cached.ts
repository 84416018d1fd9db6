/**
 * What a cached call costs, beside plain look-ups in a Map, measured in turns in the same
 * run:
 *
 * - `await source.token()` against `await` of an async function that does one look-up:
 *   the same, with the same asynchrony and no cache around it;
 * - `source.peek()`, which needs no await, against one synchronous look-up.
 *
 * Fails if the first is more than 5 times as dear. The second is printed: it reads two
 * clocks, which cost what they cost.
 */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";

import { GetAccessTokenResponseSchema } from "../src/gen/holdfast/v1/token_service_pb.js";
import { Client, type TokenSource } from "../src/index.js";

const most = 5, turns = 15, calls = 200_000;

interface Contestant {
  readonly name: string;
  run(n: number): Promise<void> | void;
  readonly nanoseconds: number[];
}

/** A source with the clocks of this process and a token in its cache. */
async function cached(): Promise<TokenSource> {
  const now = Date.now();
  const answer = create(GetAccessTokenResponseSchema, {
    accessToken: "x".repeat(2048), generation: 1n, apiBaseUrl: "https://api.test", serverTime: timestampFromMs(now),
    expiresAt: timestampFromMs(now + 3_600_000), guaranteedUntil: timestampFromMs(now + 600_000), refreshAfter: timestampFromMs(now + 300_000),
  });
  const broker = { getAccessToken: () => Promise.resolve(answer), reportRejectedToken: never, watchAccessToken: never };
  const source = new Client({ broker }).tokenSource("acme/automation/jira");
  await source.token();
  return source;
}

function never(): never {
  throw new Error("not called");
}

let sink: unknown; // so that nothing is optimised away

async function main(): Promise<void> {
  const source = await cached();
  const map = new Map(Array.from({ length: 100 }, (_, i) => [`acme/automation/grant-${String(i)}`, { token: i }]));
  const keys = [...map.keys()];
  // eslint-disable-next-line @typescript-eslint/require-await -- the asynchrony is what is measured
  const lookUp = async (key: string) => map.get(key);
  const key = (i: number) => keys[i % keys.length] ?? "";

  const contestants: Contestant[] = [
    { name: "await source.token()", run: async (n) => { for (let i = 0; i < n; i++) sink = await source.token(); }, nanoseconds: [] },
    { name: "await lookUp(key)", run: async (n) => { for (let i = 0; i < n; i++) sink = await lookUp(key(i)); }, nanoseconds: [] },
    { name: "source.peek()", run: (n) => { for (let i = 0; i < n; i++) sink = source.peek(); }, nanoseconds: [] },
    { name: "map.get(key)", run: (n) => { for (let i = 0; i < n; i++) sink = map.get(key(i)); }, nanoseconds: [] },
  ];
  for (let turn = -2; turn < turns; turn++) {
    for (const c of contestants) {
      const began = process.hrtime.bigint();
      await c.run(calls);
      if (turn >= 0) c.nanoseconds.push(Number(process.hrtime.bigint() - began) / calls); // the first turns warm up
    }
  }
  const median = (c: Contestant | undefined) => [...(c?.nanoseconds ?? [])].sort((a, b) => a - b)[turns >> 1] ?? NaN;
  const [token, awaited, peek, plain] = contestants.map(median) as [number, number, number, number];
  const ratio = token / awaited;
  console.log(`cached call, Node ${process.version}, median of ${String(turns)} turns:`);
  console.log(`  await source.token() ${token.toFixed(0)} ns, await of one Map look-up ${awaited.toFixed(0)} ns: ${ratio.toFixed(2)} times (at most ${String(most)})`);
  console.log(`  source.peek() ${peek.toFixed(0)} ns, one Map look-up ${plain.toFixed(0)} ns: ${(peek / plain).toFixed(1)} times`);
  if (sink === undefined || !(ratio <= most)) process.exitCode = 1;
}

await main();
