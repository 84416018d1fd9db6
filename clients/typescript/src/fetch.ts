import { RefusedOrigin } from "./errors.js";
import type { AccessToken } from "./token.js";

/** The type of the global `fetch`. */
export type Fetch = typeof globalThis.fetch;

/** How a `fetch` with tokens is made. */
export interface FetchOptions {
  /**
   * Origins that may see the token, e.g. "https://api.atlassian.com". Empty, and by default:
   * the origin of the API base URL that the broker names for the site, and that one only.
   */
  origins?: readonly string[];
  /**
   * Sends the requests. Must drop the Authorization header when a redirect changes the origin.
   * A 401 behind a redirect is reported only if the answer's `type` says "basic", as that of
   * Node's own does if no redirect changed the origin. Default: the global `fetch`.
   */
  fetch?: Fetch;
}

/** What a fetch needs of a source. */
interface Tokens {
  token(signal: AbortSignal | undefined): Promise<AccessToken>;
  rejected(token: AccessToken, status: number, signal: AbortSignal | undefined): Promise<AccessToken | undefined>;
}

/** See TokenSource.createFetch. */
export function fetchWith(source: Tokens, options: FetchOptions): Fetch {
  const chosen = options.origins?.length ? options.origins.map(originOf) : undefined;
  const allowed = (t: AccessToken) => chosen ?? (t.apiBaseUrl === undefined ? [] : [originOf(t.apiBaseUrl)]);
  return async (input, init) => {
    const signal = init?.signal ?? (input instanceof Request ? input.signal : undefined);
    const token = await source.token(signal);
    const url = target(input instanceof Request ? input.url : String(input), token.apiBaseUrl);
    admit(url, allowed(token));

    const send = options.fetch ?? globalThis.fetch;
    const again = repeatable(input, init);
    let answer: Response;
    try {
      answer = await send(...withToken(again.first, url, init, token));
    } catch (err) {
      again.forget();
      throw err;
    }
    if (answer.status !== 401 || strayed(answer)) {
      again.forget();
      return answer;
    }
    // Report even if the request cannot be repeated: the next one profits.
    const newer = await source.rejected(token, answer.status, signal);
    const to = reached(answer, url);
    // It may be one for another site: a new consent can change that.
    const fits = newer !== undefined && to !== undefined && allowed(newer).includes(to.origin);
    if (!fits || again.second === undefined || (answer.redirected && !unchanged(input, init))) {
      again.forget();
      return answer;
    }
    await answer.body?.cancel().catch(() => undefined); // gives its connection free, unless that broke
    const moved = answer.redirected && again.second instanceof Request ? new Request(to, again.second) : again.second;
    return send(...withToken(moved, to, init, newer));
  };
}

/** Where the API was asked that answered: a redirect's end, and not what led there. Undefined: the answer does not say. */
function reached(answer: Response, url: URL): URL | undefined {
  if (!answer.redirected) return url;
  return URL.canParse(answer.url) ? new URL(answer.url) : undefined;
}

/**
 * Whether a redirect has led to another origin, and so without the token, maybe back again:
 * then a 401 says nothing about it. By the standard of `fetch` an answer is "basic" only if
 * all of its redirects stayed where the first request was sent.
 */
function strayed(answer: Response): boolean {
  return answer.redirected && answer.type !== "basic";
}

/**
 * Whether a redirect leaves a request as it is, but for its URL. By the standard of `fetch` any
 * other may become a GET, and the answer does not show whether it did.
 */
function unchanged(input: Input, init: Init | undefined): boolean {
  const method = init?.method ?? (input instanceof Request ? input.method : "GET");
  return /^(get|head)$/i.test(method);
}

type Input = Parameters<Fetch>[0];
type Init = NonNullable<Parameters<Fetch>[1]>;

/** The input for a first and, if the body can be sent again, for a second time. */
function repeatable(input: Input, init: Init | undefined): { first: Input; second: Input | undefined; forget: () => void } {
  const forget = () => undefined;
  const body = init?.body;
  if (body !== undefined && body !== null) {
    return { first: input, second: onceOnly(body) ? undefined : input, forget };
  }
  if (!(input instanceof Request) || input.body === null) return { first: input, second: input, forget };
  // A Request gives its body once. The copy keeps what the first sending read.
  const second = input.clone();
  return { first: input, second, forget: () => void second.body?.cancel().catch(() => undefined) };
}

/** True for a stream and for anything else that is read up by being sent. */
function onceOnly(body: NonNullable<Init["body"]>): boolean {
  return typeof body === "object" && (body instanceof ReadableStream || (Symbol.asyncIterator in body && !(body instanceof Blob)));
}

function withToken(input: Input, url: URL, init: Init | undefined, token: AccessToken): [Input, Init] {
  const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined));
  headers.set("authorization", `Bearer ${token.value}`);
  return [input instanceof Request ? input : url, { ...init, headers }];
}

const schemed = /^[a-z][a-z0-9+.-]*:/i;

/** The URL of a request; a relative one is resolved under the API base URL. */
function target(url: string, base: string | undefined): URL {
  if (schemed.test(url) || url.startsWith("//") || url.startsWith("\\")) return new URL(url, base);
  if (base === undefined) {
    throw new RefusedOrigin({
      message: `${pathOf(url)}: the grant has no site or several, so there is no API base URL; choose one with the option site`,
    });
  }
  const parsed = new URL(`${base}/${url.replace(/^\/+/, "")}`);
  const root = new URL(base);
  if (parsed.origin !== root.origin || !`${parsed.pathname}/`.startsWith(`${root.pathname.replace(/\/$/, "")}/`)) {
    throw new RefusedOrigin({ message: `${pathOf(url)} leaves the site's API: remove the ".."` });
  }
  return parsed;
}

/** Without the query, which may hold what nobody should read. */
function pathOf(url: string): string {
  return JSON.stringify(url.split(/[?#]/)[0]);
}

/** Throws RefusedOrigin if the token may not go to the URL. */
function admit(url: URL, allowed: readonly string[]): void {
  if (url.origin !== "null" && allowed.includes(url.origin)) return;
  const list = allowed.length > 0 ? allowed.join(", ") : "none, since the grant has no site or several";
  throw new RefusedOrigin({ message: `refusing to send the token to ${url.origin}: allowed are ${list}; see the option origins` });
}

function originOf(url: string): string {
  return new URL(url).origin;
}
