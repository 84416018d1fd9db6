import { create, clone } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";

import type { Cache } from "./cache.js";
import { sleep } from "./clock.js";
import type { HoldfastError } from "./errors.js";
import {
  GetAccessTokenRequestSchema, WatchAccessTokenRequestSchema, type GetAccessTokenResponse,
} from "./gen/holdfast/v1/token_service_pb.js";
import { fromBatchError, fromCall } from "./status.js";
import { Held, momentOf, type AccessToken, type Moment } from "./token.js";

/** One thing that happened to a watched grant. */
export type WatchEvent =
  /** A token that is newer than those before. */
  | { readonly type: "token"; readonly token: AccessToken }
  /** There is no token for now. The watch goes on: what lifts the error brings a token again. */
  | { readonly type: "unavailable"; readonly error: HoldfastError };

/** Bounds a stream, in milliseconds: the broker ends each after an hour by itself. */
const streamMs = 65 * 60_000;
/** Between two streams: the first delay, which doubles, and the longest. */
const firstDelayMs = 1000, maxDelayMs = 60_000;

/**
 * Watches the grant of a cache and keeps the cache by it until the signal is aborted.
 * A stream that breaks is opened again, after a delay; what the broker refuses
 * for good is thrown, unless `background` asks to go on trying.
 */
export async function* watch(cache: Cache, signal: AbortSignal, background: boolean): AsyncGenerator<WatchEvent, void, undefined> {
  const { clock } = cache.work;
  let delay = firstDelayMs;
  // What was yielded last, and of a token its generation: what comes after anything
  // else begins with the present token, though it may be the same as before.
  let told: WatchEvent["type"] | "nothing" = "nothing";
  let generation = 0;
  while (!signal.aborted) {
    let wait = 0;
    let came = false;
    try {
      const known = background ? cache.current?.token.generation ?? 0 : generation;
      for await (const event of stream(cache, signal, known)) {
        came = true;
        told = event.type;
        generation = event.type === "token" ? event.token.generation : 0;
        delay = firstDelayMs;
        yield event;
      }
    } catch (err) {
      if (aborted(signal)) return;
      const e = fromCall(err);
      if (!e.temporary) {
        // A credential that has ended may have a successor, which a new connection shows.
        const renewable = e.reason === "CALLER_UNAUTHENTICATED";
        if (!renewable) cache.drop();
        if (!background && !(renewable && came)) throw e;
      }
      wait = Math.min(e.retryAfterMs, maxDelayMs);
      if (!background && e.temporary && e.reason !== "STREAM_ENDED" && (told === "nothing" || (told === "token" && !cache.alive()))) {
        told = "unavailable"; // once: else a wrong address would go unnoticed for ever
        generation = 0;
        yield { type: "unavailable", error: e };
      }
    }
    await sleep(clock, cache.work.jittered(Math.max(wait, delay)), signal, background);
    delay = Math.min(delay * 2, maxDelayMs);
  }
}

// A function, because the compiler takes a property that it saw for one that does not change.
function aborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** The events of one stream, which begins with what is newer than a known generation; 0: none is known. */
async function* stream(cache: Cache, signal: AbortSignal, known: number): AsyncGenerator<WatchEvent, void, undefined> {
  const { clock, broker } = cache.work;
  const token = clone(GetAccessTokenRequestSchema, cache.request);
  token.minTtl = undefined; // a stream takes none
  token.ifNotGeneration = BigInt(known);
  const opened = momentOf(clock);
  // Not by the call's own deadline, whose timer would outlive a stream that is left.
  const bounds = cache.work.bounded(signal);
  const overdue = clock.after(streamMs, bounds.release, true);
  let reference = known === 0 ? undefined : cache.reference;
  let first = true;
  let stands = 0; // 1 from the first message on
  try {
    const request = create(WatchAccessTokenRequestSchema, { token });
    for await (const { event } of broker.watchAccessToken(request, { signal: bounds.signal })) {
      if (first) cache.streams += stands = 1;
      switch (event.case) {
        case "token": {
          const sent = sentAt(event.value, opened, momentOf(clock), reference, first && known === 0);
          const held = Held.from(event.value, sent);
          reference = cache.reference = { server: serverMs(event.value), sent };
          cache.offer(held);
          yield { type: "token", token: held.token };
          break;
        }
        case "unavailable": {
          const error = fromBatchError(event.value);
          cache.refuse(error);
          yield { type: "unavailable", error };
          break;
        }
      }
      first = false;
    }
  } finally {
    cache.streams -= stands;
    overdue();
    bounds.release();
  }
}

/** A moment of this machine that is not later than the broker's time beside it. */
export interface Reference {
  readonly server: number;
  readonly sent: Moment;
}

function serverMs(a: GetAccessTokenResponse): number {
  return a.serverTime ? timestampMs(a.serverTime) : 0;
}

/**
 * When a message was sent, at the latest that is sure. It may have lain in a buffer
 * before it arrived, of a busy or a suspended machine: what the broker's clock did
 * since a reference counts, within the time that the stream is open.
 */
function sentAt(a: GetAccessTokenResponse, opened: Moment, arrived: Moment, reference: Reference | undefined, atOnce: boolean): Moment {
  if (!reference) return atOnce ? opened : arrived;
  const passed = serverMs(a) - reference.server;
  const within = (of: "monotonic" | "wall") =>
    Math.min(arrived[of], Math.max(opened[of], reference.sent[of] + passed));
  return { monotonic: within("monotonic"), wall: within("wall") };
}
