import { timestampMs } from "@bufbuild/protobuf/wkt";
import { inspect } from "node:util";

import type { Clock } from "./clock.js";
import { HoldfastError } from "./errors.js";
import type { GetAccessTokenResponse } from "./gen/holdfast/v1/token_service_pb.js";

/** The site that a token is for. */
export interface Site {
  /** The provider's id of the site. */
  readonly cloudId: string;
  /** Display name. */
  readonly name: string;
  /** URL of the site, without a trailing slash. */
  readonly url: string;
}

/**
 * An access token. Nothing prints it: neither string conversion nor
 * `JSON.stringify` nor `console.log` shows more than the generation.
 */
export class AccessToken {
  readonly #value: string;
  /** Counts the renewals of the grant. */
  readonly generation: number;
  /** Stable id of the grant. */
  readonly grantId: string;
  /** Scopes of the token. */
  readonly scopes: readonly string[];
  /** The site asked for, or the grant's only one. */
  readonly site: Site | undefined;
  /** Base URL of the product's API for the site, without a trailing slash; undefined without a site. */
  readonly apiBaseUrl: string | undefined;
  /** When the provider lets the token expire, by this machine's clock: for people, not for decisions. */
  readonly expiresAt: Date;

  /** @internal */
  constructor(a: GetAccessTokenResponse, expiresAt: Date) {
    this.#value = a.accessToken;
    this.generation = Number(a.generation);
    this.grantId = a.grantId;
    this.scopes = a.scopes;
    this.site = a.site && { cloudId: a.site.cloudId, name: a.site.name, url: a.site.url };
    this.apiBaseUrl = a.apiBaseUrl || undefined;
    this.expiresAt = expiresAt;
  }

  /** The token itself, a secret: send it as "Authorization: Bearer", never log it. */
  get value(): string {
    return this.#value;
  }

  /** Names the generation, not the token. */
  toString(): string {
    return `AccessToken(generation ${String(this.generation)})`;
  }

  /** Names the generation, not the token. */
  toJSON(): { generation: number } {
    return { generation: this.generation };
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

/** A moment by both clocks. */
export interface Moment {
  readonly monotonic: number;
  readonly wall: number;
}

/** The moment that it is now. */
export function momentOf(clock: Clock): Moment {
  return { monotonic: clock.monotonic(), wall: clock.wall() };
}

/**
 * The least time, in milliseconds, between two background calls for one token, also
 * if the broker says that a refresh is overdue: it tries by itself.
 */
const minIntervalMs = 5000;

/**
 * One answer of the broker with its times as ages: milliseconds since the request
 * was sent. An age counts by the broker's clock, and from the sending rather than
 * from the answer, so that it errs on the early side by at most the round trip.
 */
export class Held {
  /** What callers get, resolved beforehand: a cached call makes no new object. */
  readonly resolved: Promise<AccessToken>;

  private constructor(
    readonly token: AccessToken,
    private readonly monotonic: number,
    private readonly wall: number,
    /** From this age on ask again in the background. */
    readonly softAge: number,
    /** From this age on the provider may refuse the token. */
    readonly guaranteedAge: number,
    /** From this age on it surely does. */
    readonly expiryAge: number,
  ) {
    this.resolved = Promise.resolve(token);
  }

  /** Throws HoldfastError if the answer lacks what a token needs. */
  static from(a: GetAccessTokenResponse, sent: Moment): Held {
    if (a.accessToken === "" || !a.expiresAt || !a.serverTime) {
      throw new HoldfastError("INTERNAL", {
        message: "the broker's answer lacks the token, its expiry or the time of the answer; report this",
      });
    }
    const server = timestampMs(a.serverTime);
    const expiry = timestampMs(a.expiresAt) - server;
    const guaranteed = a.guaranteedUntil ? Math.min(expiry, timestampMs(a.guaranteedUntil) - server) : expiry;
    let soft = a.refreshAfter ? timestampMs(a.refreshAfter) - server : guaranteed;
    if (soft >= guaranteed) soft = (guaranteed * 3) / 4; // early enough that nobody has to wait
    soft = Math.min(Math.max(soft, minIntervalMs), guaranteed);
    const token = new AccessToken(a, new Date(sent.wall + expiry));
    return new Held(token, sent.monotonic, sent.wall, soft, guaranteed, expiry);
  }

  /** Whether `other` is an older one; a grant that was purged and made again counts from 1 again, under another id. */
  newerThan(other: Held): boolean {
    return this.token.grantId === other.token.grantId && this.token.generation > other.token.generation;
  }

  /**
   * Milliseconds since the request was sent. A suspended machine stops the monotonic
   * clock, and somebody may set the wall clock: the one that ran further is believed,
   * since a call too many does no harm.
   */
  age(clock: Clock): number {
    return Math.max(clock.monotonic() - this.monotonic, clock.wall() - this.wall);
  }

  /** Whether that age is less than `limit`, to the millisecond; for the cached call. */
  younger(limit: number, clock: Clock): boolean {
    const wall = clock.wall();
    if (wall - this.wall >= limit) return false;
    return (clock.monotonicAt ? clock.monotonicAt(wall) : clock.monotonic()) - this.monotonic < limit;
  }
}
