import { clone } from "@bufbuild/protobuf";

import { sleep } from "./clock.js";
import { ClientClosed, HoldfastError } from "./errors.js";
import { Flight, TokenAccepted } from "./flight.js";
import {
  GetAccessTokenRequestSchema, TokenVerdict, type GetAccessTokenRequest,
} from "./gen/holdfast/v1/token_service_pb.js";
import { fromCall } from "./status.js";
import { Held, momentOf } from "./token.js";
import type { Reference } from "./watch.js";
import type { Work } from "./work.js";

/**
 * How long a caller waits for the broker while an old token that is no longer
 * guaranteed, but not expired either, lies ready; milliseconds.
 */
const staticWaitMs = 2000;
/** After a failed background call, if the broker names no longer time; and the most that it may name. */
const retryMs = 1000, maxRetryMs = 60_000;
/** The least time before a report that brought no verdict is repeated. */
const unverifiedMs = 60_000;
/** The least time between two looks for a refresh that is under way. */
const lookAgainMs = 100;

/** What `look` finds: a token to hand out, a flight to wait for, maybe with a token to fall back on, or an error. */
interface Look {
  readonly held?: Held | undefined;
  readonly flight?: Flight;
  readonly error?: HoldfastError | undefined;
}

/** The token of one request, kept fresh by at most one call at a time. */
export class Cache {
  #current: Held | undefined;
  #flight: Flight | undefined;
  /** Refused generation: the present one must be newer. */
  #refused = 0;
  /** The generation last reported as rejected, and when it may be reported once more. */
  #reported = 0;
  #reportAgain = Infinity;
  /** No call before then; until then the failure is the answer if there is no token. */
  #retryAt = -Infinity;
  #failure: HoldfastError | undefined;
  /** How often a stream told that the token has ended: an answer from before brings none back. */
  #losses = 0;
  /** How many streams bring tokens by themselves, so that asking for them can wait. */
  streams = 0;
  /** Of the newest message of a stream. */
  reference: Reference | undefined;

  constructor(readonly work: Work, readonly request: GetAccessTokenRequest) {}

  get current(): Held | undefined {
    return this.#current;
  }

  /** True if there is a token that has not expired. */
  alive(): boolean {
    return this.#current !== undefined && this.#current.age(this.work.clock) < this.#current.expiryAge;
  }

  /** The token that can be handed out without a second thought, if there is one. */
  fresh(): Held | undefined {
    const t = this.#current;
    return t !== undefined && !this.work.closed && t.younger(this.#softAge(t), this.work.clock) ? t : undefined;
  }

  /** A token from the cache, or waits for one, no longer than until the signal is aborted. */
  async get(signal?: AbortSignal): Promise<Held> {
    for (;;) {
      if (this.work.closed) throw new ClientClosed();
      signal?.throwIfAborted();
      const { held, flight, error } = this.look();
      if (error) throw error;
      if (!flight) {
        if (held) return held;
        continue; // cannot be: look finds one of the three
      }
      const alive = () => held !== undefined && held.age(this.work.clock) < held.expiryAge;
      try {
        const got = await flight.wait(this.work.clock, signal, held && staticWaitMs);
        if (got) return got;
        if (held && alive()) return held; // else it ended meanwhile: look again
      } catch (err) {
        const passing = err === signal?.reason || (err instanceof HoldfastError && err.temporary);
        if (held && passing && alive()) return held;
        if (!(err instanceof TokenAccepted)) throw err;
      }
    }
  }

  /** See Look. Starts a call if one is due. */
  look(): Look {
    const now = this.work.clock.monotonic();
    let t = this.#current;
    const age = t ? t.age(this.work.clock) : 0;
    if (t && age >= t.expiryAge) this.#current = t = undefined;
    const waits = now < this.#retryAt && !this.#flight;
    if (t && age < this.#softAge(t)) return { held: t };
    if (t && age < t.guaranteedAge) {
      if (!waits) this.#flight ??= this.#launch(0, 0);
      return { held: t };
    }
    if (waits) return t ? { held: t } : { error: this.#failure };
    this.#flight ??= this.#launch(0, 0);
    return { held: t, flight: this.#flight };
  }

  /**
   * Called when the API answered the token of a generation with a 401. Reports it,
   * once, and waits for a token of a later one; undefined: there is none.
   */
  async newer(generation: number, status: number, signal?: AbortSignal): Promise<Held | undefined> {
    while (!this.work.closed && !signal?.aborted) {
      if (this.#current && this.#current.token.generation > generation) return this.#current;
      let flight = this.#flight;
      if (!flight) {
        const now = this.work.clock.monotonic();
        if (generation < this.#reported || (generation === this.#reported && now < this.#reportAgain)) return undefined;
        if (now < this.#retryAt) return undefined; // the broker wants to be left alone
        this.#reported = generation;
        this.#reportAgain = Infinity;
        flight = this.#flight = this.#launch(generation, status);
      }
      const got = await flight.wait(this.work.clock, signal).catch(() => undefined);
      if (got && got.token.generation > generation) return got;
      if (flight.rejected === generation) return undefined;
    }
    return undefined;
  }

  /** Takes a token that came unasked, unless a newer one is here or its generation was refused. */
  offer(held: Held): void {
    if (held.token.generation <= this.#refused || this.#current?.newerThan(held)) return;
    this.#current = held;
    this.#retryAt = -Infinity;
    this.#failure = undefined;
  }

  /** Takes a refusal that came unasked: one that passes holds off calls, any other drops the token. */
  refuse(err: HoldfastError): void {
    if (err.temporary) this.#postpone(err);
    else this.drop();
  }

  /** Drops the token: it is not to be used any more. */
  drop(): void {
    this.#losses++;
    this.#current = undefined;
    this.#retryAt = -Infinity; // the next call asks why, whatever failed before
    this.#failure = undefined;
  }

  /** With a stream that brings renewals, half of the time that is left for asking is left to it. */
  #softAge(t: Held): number {
    return this.streams > 0 ? (t.softAge + t.guaranteedAge) / 2 : t.softAge;
  }

  #launch(rejected: number, status: number): Flight {
    const flight: Flight = new Flight(rejected, this.work.run(async (signal) => {
      const ends = this.work.clock.monotonic() + this.work.timeoutMs;
      const losses = this.#losses;
      try {
        if (rejected !== 0) await this.#report(rejected, status, ends, signal);
        const held = await this.#fly(Math.max(this.#refused, rejected), ends, signal);
        this.#settle(losses === this.#losses ? held : undefined, undefined);
        return held;
      } catch (err) {
        this.#settle(undefined, err);
        throw err;
      }
    }));
    return flight;
  }

  /** Records how the flight ended. */
  #settle(held: Held | undefined, err: unknown): void {
    this.#flight = undefined;
    this.#retryAt = -Infinity;
    this.#failure = undefined;
    if (held) {
      if (held.token.generation > this.#refused) this.#refused = 0;
      // A stream may have brought a newer one meanwhile.
      if (!this.#current?.newerThan(held)) this.#current = held;
    } else if (err instanceof HoldfastError && !(err instanceof ClientClosed) && !this.work.closed) {
      if (!err.temporary) {
        this.#current = undefined; // a refusal is about this grant or this caller: believe it
      } else {
        this.#postpone(err);
      }
    }
  }

  /** Holds off calls after a failure that passes. With nothing to hand out and no time named, the next caller may try at once. */
  #postpone(err: HoldfastError): void {
    if (!this.#current && err.retryAfterMs === 0) return;
    const delay = Math.min(Math.max(err.retryAfterMs, retryMs), maxRetryMs);
    this.#retryAt = this.work.clock.monotonic() + this.work.jittered(delay);
    this.#failure = err;
  }

  /** Asks until there is a token; a refresh that is under way is waited for. */
  async #fly(avoid: number, ends: number, signal: AbortSignal): Promise<Held> {
    for (;;) {
      try {
        return await this.#fetch(avoid, ends, signal);
      } catch (err) {
        if (!(err instanceof HoldfastError) || err.reason !== "REFRESH_IN_PROGRESS") throw err;
        const delay = Math.max(err.retryAfterMs, lookAgainMs);
        if (this.work.clock.monotonic() + delay >= ends) throw err;
        if (!(await sleep(this.work.clock, delay, signal, false))) throw err;
      }
    }
  }

  async #fetch(avoid: number, ends: number, signal: AbortSignal): Promise<Held> {
    let request = this.request;
    if (avoid !== 0) {
      request = clone(GetAccessTokenRequestSchema, request);
      request.ifNotGeneration = BigInt(avoid);
    }
    const sent = momentOf(this.work.clock);
    try {
      return Held.from(await this.work.broker.getAccessToken(request, this.#bounds(ends, signal)), sent);
    } catch (err) {
      throw fromCall(err);
    }
  }

  /** Tells the broker of the rejected generation and notes its verdict. */
  async #report(generation: number, status: number, ends: number, signal: AbortSignal): Promise<void> {
    const { clock, broker } = this.work;
    let verdict: TokenVerdict;
    try {
      const request = { grant: this.request.grant, generation: BigInt(generation), httpStatus: status };
      ({ verdict } = await broker.reportRejectedToken(request, this.#bounds(ends, signal)));
    } catch (err) {
      this.#reportAgain = clock.monotonic(); // the broker did not hear of it
      throw fromCall(err);
    }
    switch (verdict) {
      case TokenVerdict.TOKEN_ACCEPTED:
        throw new TokenAccepted();
      case TokenVerdict.TOKEN_REJECTED:
      case TokenVerdict.GENERATION_STALE:
        this.#refused = generation;
        if (this.#current && this.#current.token.generation <= generation) this.#current = undefined;
        break;
      default:
        this.#reportAgain = clock.monotonic() + unverifiedMs;
    }
  }

  #bounds(ends: number, signal: AbortSignal) {
    // Whole milliseconds: gRPC knows no fractions.
    return { timeoutMs: Math.max(1, Math.ceil(ends - this.work.clock.monotonic())), signal };
  }
}
