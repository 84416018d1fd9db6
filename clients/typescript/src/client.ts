import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { inspect } from "node:util";

import { Cache } from "./cache.js";
import { longestMs, systemClock, type Clock } from "./clock.js";
import { connect, type Connection, type ConnectionOptions } from "./connection.js";
import { ClientClosed, ConfigError } from "./errors.js";
import { GetAccessTokenRequestSchema, TokenService } from "./gen/holdfast/v1/token_service_pb.js";
import { selector } from "./grant.js";
import { TokenSource } from "./source.js";
import { watch } from "./watch.js";
import { Work, type Broker } from "./work.js";

/** Bounds one call to the broker, in milliseconds. It exceeds the 30 s that a refresh at the provider may take. */
export const defaultTimeoutMs = 40_000;

/** What any client may be told. */
export interface CommonOptions {
  /**
   * Bounds one call to the broker, the broker's own refresh included, in milliseconds. A
   * caller that gives up earlier does not end the call for the others. At most 24 days. Default: 40000.
   */
  timeoutMs?: number | undefined;
  /** Clocks and timers. Default: those of this process. */
  clock?: Clock | undefined;
}

/** How a client reaches the broker, and how it behaves. */
export interface ClientOptions extends ConnectionOptions, CommonOptions {}

/** A broker that a test plays; see FakeBroker of `@holdfast-io/client/testing`. */
export interface PlayedOptions extends CommonOptions {
  /** Answers the calls. */
  broker: Broker;
  /** From 0 to below 1, for jitter. Default: Math.random. */
  random?: (() => number) | undefined;
}

/** Narrows what a source asks for. */
export interface SourceOptions {
  /**
   * Site, by cloud id or URL, whose API base URL the tokens come with. Default: the
   * grant's only site, if it has exactly one.
   */
  site?: string | undefined;
  /** Scopes that every token must have. Default: any token will do. */
  scopes?: readonly string[] | undefined;
  /**
   * Milliseconds that a token must still be valid for when the broker hands it out; at
   * most the provider's access grace, 10 minutes at Atlassian. Default: 0.
   */
  minTtlMs?: number | undefined;
  /** What the audit record shows, 1 to 64 of the characters a-z 0-9 . _ -. Default: none. */
  purpose?: string | undefined;
  /**
   * Keep the cache by a stream on which the broker sends renewals, and changes of the
   * grant, as they happen; while it is broken the source asks as it does without. Default: false.
   */
  watch?: boolean | undefined;
}

/** A connection to a broker. Make one per process, and close it at the end. */
export class Client implements AsyncDisposable {
  readonly #work: Work;
  readonly #connection: Connection | undefined;

  /**
   * Does not wait for a connection: that is made by the first call. Throws ConfigError if
   * the files cannot be read or no identity was chosen.
   */
  constructor(options: ClientOptions | PlayedOptions) {
    const clock = options.clock ?? systemClock;
    const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    if (!(timeoutMs > 0 && timeoutMs <= longestMs)) {
      throw new ConfigError(`timeoutMs ${String(timeoutMs)}: want milliseconds, more than 0 and at most ${String(longestMs)}`);
    }
    if ("broker" in options) {
      this.#work = new Work(options.broker, clock, timeoutMs, options.random ?? Math.random);
    } else {
      this.#connection = connect(options, clock);
      this.#work = new Work(createClient(TokenService, this.#connection.transport), clock, timeoutMs, Math.random);
    }
  }

  /**
   * Returns a source of tokens of a grant, given by its id or its address
   * tenant/subject/product[/name]. Makes no call, unless `watch` is set. Throws
   * InvalidRequest if the grant does not parse, ClientClosed after `close`.
   */
  tokenSource(grant: string, options: SourceOptions = {}): TokenSource {
    const work = this.#work;
    if (work.closed) throw new ClientClosed();
    const request = create(GetAccessTokenRequestSchema, {
      grant: selector(grant),
      site: options.site ?? "",
      requiredScopes: [...(options.scopes ?? [])],
      purpose: options.purpose ?? "",
      minTtl: options.minTtlMs ? durationFromMs(options.minTtlMs) : undefined,
    });
    const cache = new Cache(work, request);
    if (options.watch) void work.run((ended) => drain(watch(cache, ended, true))).catch(() => undefined);
    return new TokenSource(cache, grant);
  }

  /**
   * Ends all calls under way, waits until no work of this client is left, and closes the
   * connection; then nothing of it keeps the process alive. Later calls reject with
   * ClientClosed. Closing twice is no error.
   */
  async close(): Promise<void> {
    const ended = this.#work.close();
    this.#connection?.close();
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Shows nothing of what it holds. */
  toJSON(): object {
    return {};
  }

  [inspect.custom](): string {
    return `Client(${this.#work.closed ? "closed" : "open"})`;
  }
}

async function drain(events: AsyncIterable<unknown>): Promise<void> {
  const each = events[Symbol.asyncIterator]();
  while (!(await each.next()).done);
}
