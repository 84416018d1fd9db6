import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { CallOptions } from "@connectrpc/connect";

import { Client } from "../client.js";
import { ClientClosed, HoldfastError, refusal, type Reason, type Refusal } from "../errors.js";
import { ErrorReason } from "../gen/holdfast/v1/error_reason_pb.js";
import {
  BatchErrorSchema, GetAccessTokenResponseSchema, ReportRejectedTokenResponseSchema, TokenVerdict, WatchAccessTokenResponseSchema,
  type GetAccessTokenResponse, type ReportRejectedTokenRequestSchema, type WatchAccessTokenRequestSchema,
  type WatchAccessTokenResponse,
} from "../gen/holdfast/v1/token_service_pb.js";
import { sleep } from "../clock.js";
import { codeOf } from "../status.js";
import { FakeClock } from "./clock.js";

/** How a fake broker begins. */
export interface FakeBrokerOptions {
  /** Base URL that its tokens come with; "": none. Default: "https://api.atlassian.com/ex/jira/fake". */
  apiBaseUrl?: string;
  /** Life of a token in milliseconds. Default: an hour. */
  lifetimeMs?: number;
}

/**
 * A broker without a network for unit tests of code that uses this package. It hands
 * out tokens "fake-token-1", "fake-token-2", ... of whatever grant, and does as it is told.
 *
 * ```ts
 * const fake = new FakeBroker({ apiBaseUrl: "https://jira.test" });
 * const source = fake.client().tokenSource("acme/automation/jira");
 * fake.refuse("CONSENT_REQUIRED", { link: "https://holdfast.test/connect" });
 * await assert.rejects(source.token(), ConsentRequired);
 * ```
 */
export class FakeBroker {
  /** The clock of its clients and its own: move it to let tokens grow old. */
  readonly clock = new FakeClock();
  /** How often a token was asked for, streams not counted. */
  calls = 0;
  /** The generations that were reported as rejected. */
  readonly reports: number[] = [];
  /** What the provider says about a reported token: refused by default, so that a newer one comes. */
  verdict: "rejected" | "accepted" | "unverified" = "rejected";
  /** Milliseconds that each call takes, by `clock`. Default: none. */
  delayMs = 0;

  readonly #apiBaseUrl: string;
  readonly #lifetimeMs: number;
  readonly #watchers = new Set<() => void>();
  #generation = 1;
  #issuedAt = 0;
  #refused: HoldfastError | undefined;
  #refusal: Refusal = {};
  #ending: HoldfastError | undefined;

  constructor(options: FakeBrokerOptions = {}) {
    this.#apiBaseUrl = options.apiBaseUrl ?? "https://api.atlassian.com/ex/jira/fake";
    this.#lifetimeMs = options.lifetimeMs ?? 3_600_000;
  }

  /** A client of this broker. Close it as any other. */
  client(options: { timeoutMs?: number } = {}): Client {
    return new Client({ ...options, clock: this.clock, broker: this.#broker, random: () => 0 });
  }

  /** The token that it hands out now. */
  get accessToken(): string {
    return `fake-token-${String(this.#generation)}`;
  }

  /** Makes a new generation; watchers are told. */
  rotate(): void {
    this.#generation++;
    this.#issuedAt = this.clock.monotonic();
    this.#tell();
  }

  /** From now on refuses, as the broker would for this reason; watchers are told. */
  refuse(reason: Reason, of: Refusal = {}): void {
    this.#refused = refusal(reason, { code: codeOf(reason, (of.retryAfterMs ?? 0) > 0), ...of });
    this.#refusal = of;
    this.#tell();
  }

  /** From now on nothing answers, and streams break, until `allow`. */
  disappear(): void {
    this.refuse("UNREACHABLE", { code: "UNAVAILABLE", message: "the fake broker is gone" });
  }

  /** Ends `refuse` and `disappear`. */
  allow(): void {
    this.#refused = undefined;
    this.#tell();
  }

  /** Ends all streams with an error, once, as the broker does when it may not go on. */
  endStreams(err: HoldfastError): void {
    this.#ending = err;
    this.#tell();
    setImmediate(() => { this.#ending = undefined; });
  }

  #tell(): void {
    for (const wake of [...this.#watchers]) wake();
  }

  readonly #broker = {
    getAccessToken: async (_: unknown, options?: CallOptions): Promise<GetAccessTokenResponse> => {
      this.calls++;
      await this.#pass(options);
      if (this.#refused) throw this.#refused;
      return this.#answer();
    },
    reportRejectedToken: async (request: MessageInitShape<typeof ReportRejectedTokenRequestSchema>, options?: CallOptions) => {
      await this.#pass(options);
      if (this.#refused?.reason === "UNREACHABLE") throw this.#refused;
      const generation = Number(request.generation ?? 0n);
      this.reports.push(generation);
      if (this.verdict === "rejected" && generation === this.#generation) this.rotate();
      const verdict = {
        rejected: TokenVerdict.TOKEN_REJECTED, accepted: TokenVerdict.TOKEN_ACCEPTED, unverified: TokenVerdict.UNVERIFIED,
      }[this.verdict];
      return create(ReportRejectedTokenResponseSchema, { verdict });
    },
    watchAccessToken: (request: MessageInitShape<typeof WatchAccessTokenRequestSchema>, options?: CallOptions) =>
      this.#watch(Number(request.token?.ifNotGeneration ?? 0n), options?.signal),
  };

  async *#watch(known: number, signal: AbortSignal | undefined): AsyncGenerator<WatchAccessTokenResponse> {
    let told: unknown = known;
    while (signal?.aborted !== true) {
      if (this.#ending) throw this.#ending;
      const refused = this.#refused;
      if (refused?.reason === "UNREACHABLE") throw refused;
      const news = refused ?? this.#generation;
      if (news !== told) {
        told = news;
        yield this.#event(refused);
      } else {
        await this.#change(signal);
      }
    }
    throw new ClientClosed();
  }

  #event(refused: HoldfastError | undefined): WatchAccessTokenResponse {
    if (!refused) return create(WatchAccessTokenResponseSchema, { event: { case: "token", value: this.#answer() } });
    const { message = "", field = "", why = "", link = "", requestId = "", sites = [], missing = [] } = this.#refusal;
    const value = create(BatchErrorSchema, {
      reason: ErrorReason[refused.reason as keyof typeof ErrorReason],
      message,
      field,
      retryAfter: refused.retryAfterMs > 0 ? durationFromMs(refused.retryAfterMs) : undefined,
      metadata: { why, link, request_id: requestId, sites: sites.join(", "), missing: missing.join(" ") },
    });
    return create(WatchAccessTokenResponseSchema, { event: { case: "unavailable", value } });
  }

  /** Until something changed, or the signal is aborted. */
  #change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#watchers.delete(wake);
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      this.#watchers.add(wake);
      signal?.addEventListener("abort", wake, { once: true });
    });
  }

  /** Takes the time that a call takes, its deadline at most. */
  async #pass(options: CallOptions | undefined): Promise<void> {
    const { signal = new AbortController().signal, timeoutMs = Infinity } = options ?? {};
    const late = this.delayMs > timeoutMs;
    if (this.delayMs > 0 && !(await sleep(this.clock, Math.min(this.delayMs, timeoutMs), signal, false))) throw new ClientClosed();
    if (late) throw refusal("UNREACHABLE", { code: "DEADLINE_EXCEEDED", message: "the fake broker was too slow" });
  }

  #answer(): GetAccessTokenResponse {
    if (this.clock.monotonic() - this.#issuedAt >= this.#lifetimeMs * 0.9) this.rotate();
    const now = this.clock.wall();
    const expires = now + this.#lifetimeMs - (this.clock.monotonic() - this.#issuedAt);
    const grace = Math.min(expires, now + this.#lifetimeMs / 6);
    return create(GetAccessTokenResponseSchema, {
      accessToken: this.accessToken,
      generation: BigInt(this.#generation),
      serverTime: timestampFromMs(now),
      expiresAt: timestampFromMs(expires),
      refreshAfter: timestampFromMs(now + this.#lifetimeMs / 12),
      guaranteedUntil: timestampFromMs(grace),
      grantId: "grt_aaaaaaaaaaaaaaaaaaaaaaaaaa",
      apiBaseUrl: this.#apiBaseUrl,
    });
  }
}
