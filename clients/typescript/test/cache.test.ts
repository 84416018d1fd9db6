import assert from "node:assert/strict";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";

import { Cache } from "../src/cache.js";
import { GetAccessTokenRequestSchema, GetAccessTokenResponseSchema } from "../src/gen/holdfast/v1/token_service_pb.js";
import { FakeBroker } from "../src/testing/index.js";
import { Held, momentOf } from "../src/token.js";
import { Work } from "../src/work.js";

const minute = 60_000;

/** A cache, and what the broker will answer with: a generation of a grant. */
async function begin() {
  const fake = new FakeBroker();
  let now = { grantId: "grt_a", generation: 5n };
  const answer = () => {
    const wall = fake.clock.wall();
    return create(GetAccessTokenResponseSchema, {
      ...now, accessToken: `${now.grantId}-${String(now.generation)}`, serverTime: timestampFromMs(wall),
      refreshAfter: timestampFromMs(wall + 5 * minute), expiresAt: timestampFromMs(wall + 60 * minute),
    });
  };
  const broker = {
    getAccessToken: () => Promise.resolve(answer()),
    reportRejectedToken: () => Promise.reject(new Error("not reported here")),
    watchAccessToken: () => assert.fail("not watched here"),
  };
  const cache = new Cache(new Work(broker, fake.clock, 1000, () => 0), create(GetAccessTokenRequestSchema));
  assert.equal((await cache.get()).token.value, "grt_a-5");
  return { fake, cache, answer, set: (grantId: string, generation: bigint) => (now = { grantId, generation }) };
}

for (const { name, grantId, generation, want } of [
  { name: "an older token replaces no newer one", grantId: "grt_a", generation: 4n, want: "grt_a-5" },
  { name: "a newer one replaces it", grantId: "grt_a", generation: 6n, want: "grt_a-6" },
  { name: "a grant that was purged and made again counts anew", grantId: "grt_b", generation: 1n, want: "grt_b-1" },
]) {
  test(`${name}, by a call`, async () => {
    const { fake, cache, set } = await begin();
    set(grantId, generation);
    await fake.clock.advance(6 * minute); // the next caller asks in the background
    await cache.get();
    await fake.clock.advance(0);
    assert.equal((await cache.get()).token.value, want);
  });

  test(`${name}, by a stream`, async () => {
    const { fake, cache, answer, set } = await begin();
    set(grantId, generation);
    cache.offer(Held.from(answer(), momentOf(fake.clock)));
    assert.equal((await cache.get()).token.value, want);
  });
}
