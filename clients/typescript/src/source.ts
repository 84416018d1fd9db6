import { inspect } from "node:util";

import type { Cache } from "./cache.js";
import { ClientClosed, HoldfastError } from "./errors.js";
import { fetchWith, type Fetch, type FetchOptions } from "./fetch.js";
import type { AccessToken } from "./token.js";
import { watch, type WatchEvent } from "./watch.js";

/** Bounds what a caller waits for. */
export interface Waiting {
  /** Ends the waiting of this caller alone; the call to the broker goes on for the others. */
  signal?: AbortSignal | undefined;
}

/**
 * Hands out access tokens of one grant from a cache that it keeps fresh. Make one per
 * grant, and per site if several are used, and keep it.
 */
export class TokenSource {
  readonly #cache: Cache;
  readonly #grant: string;

  /**
   * `fetch`, with the access token, for URLs of the site's API; a relative one, like
   * "/rest/api/3/myself", is resolved under the API base URL. See `createFetch`.
   */
  readonly fetch: Fetch;

  /** @internal Use Client.tokenSource. */
  constructor(cache: Cache, grant: string) {
    this.#cache = cache;
    this.#grant = grant;
    this.fetch = this.createFetch();
  }

  /**
   * Returns a token that is valid now. It waits only if there is none in the cache, at
   * most as long as the client's `timeoutMs`. Rejects with a HoldfastError that says why
   * there is none, or with the reason of the signal.
   */
  token(waiting?: Waiting): Promise<AccessToken> {
    const held = this.#cache.fresh();
    if (held !== undefined && waiting?.signal?.aborted !== true) return held.resolved;
    return this.#cache.get(waiting?.signal).then((got) => got.token);
  }

  /**
   * Returns the token that `token` would resolve to at once, or undefined if it would
   * wait or fail; a refresh that is due is begun. For code that cannot wait.
   */
  peek(): AccessToken | undefined {
    const held = this.#cache.fresh();
    if (held !== undefined) return held.token;
    if (this.#cache.work.closed) return undefined;
    const look = this.#cache.look();
    return look.flight ? undefined : look.held?.token;
  }

  /**
   * Base URL of the product's API for the site, without a trailing slash. Waits as
   * `token` does. Rejects if the grant has several sites or none and the source was
   * made without one.
   */
  async apiBaseUrl(waiting?: Waiting): Promise<string> {
    const { apiBaseUrl } = await this.token(waiting);
    if (apiBaseUrl === undefined) throw noBase();
    return apiBaseUrl;
  }

  /**
   * Tells the broker, once for each token, that the API answered it with `status`, and
   * returns a newer token, or undefined if there is none: then the answer has another
   * cause, such as a missing permission. `fetch` does this by itself.
   */
  async rejected(token: AccessToken, status = 401, waiting?: Waiting): Promise<AccessToken | undefined> {
    return (await this.#cache.newer(token.generation, status, waiting?.signal))?.token;
  }

  /**
   * Makes a `fetch` that sends each request with the token.
   *
   * The token goes to allowed origins only: a request to any other rejects with
   * RefusedOrigin. A redirect to another origin, allowed or not, is followed without the
   * token, and so is all that it leads to, back as well, as the standard of `fetch` demands.
   * A 401 of theirs is the answer, and says nothing about the token.
   *
   * When the API answers 401, the token is reported to the broker, once, and if that
   * brings a newer one the request is sent a second time, once, provided that its body can
   * be: a stream cannot. In every other case the 401 is the answer.
   */
  createFetch(options: FetchOptions = {}): Fetch {
    return fetchWith(
      {
        token: (signal) => this.token({ signal }),
        rejected: (token, status, signal) => this.rejected(token, status, { signal }),
      },
      options,
    );
  }

  /**
   * Yields the grant's token at once, each newer one as it comes, and what leaves the
   * caller without one; the cache of this source profits too. It connects again by
   * itself after a break, which it tells of if there is no token meanwhile. It ends when the signal is aborted or the client is closed,
   * and throws the HoldfastError that ends it for good, e.g. GrantNotFound. Leave the
   * loop, or abort the signal, to end the stream.
   */
  async *watch(waiting?: Waiting): AsyncGenerator<WatchEvent, void, undefined> {
    const { work } = this.#cache;
    if (work.closed) throw new ClientClosed();
    const { signal, release } = work.bounded(waiting?.signal);
    try {
      yield* watch(this.#cache, signal, false);
    } finally {
      release();
    }
  }

  /** Names the grant; it never shows a token. */
  toString(): string {
    return `TokenSource(${this.#grant})`;
  }

  /** Names the grant; it never shows a token. */
  toJSON(): { grant: string } {
    return { grant: this.#grant };
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

/** @internal */
export function noBase(): HoldfastError {
  return new HoldfastError("SITE_AMBIGUOUS", {
    message: "the grant has no site or several, so there is no API base URL; choose one with the option site",
  });
}
