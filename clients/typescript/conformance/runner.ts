/**
 * Drives this package as clients/conformance/PROTOCOL.md says: requests come as lines of
 * JSON on standard input, answers go to standard output.
 */
import { createInterface } from "node:readline";

import {
  Client, ConfigError, HoldfastError, type AccessToken, type Clock, type ClientOptions, type TokenSource,
} from "../src/index.js";
import { systemClock } from "../src/clock.js";

interface Request {
  id: number;
  op: string;
  client?: string;
  source?: string;
  target?: string;
  cert?: string;
  key?: string;
  ca?: string;
  token_file?: string;
  plaintext?: boolean;
  timeout_ms?: number;
  grant?: string;
  site?: string;
  scopes?: string[];
  purpose?: string;
  min_ttl_ms?: number;
  watch?: boolean;
  count?: number;
  deadline_ms?: number;
  method?: string;
  url?: string;
  body?: string;
  repeatable?: boolean;
  origins?: string[];
  skew_ms?: number;
}

type Answer = Record<string, unknown>;

const clients = new Map<string, Client>();
const sources = new Map<string, TokenSource>();
let skewMs = 0;
const clock: Clock = { ...systemClock, wall: () => systemClock.wall() + skewMs };

/** Handles and timers that keep the process, as before the first dial. */
let before: number | undefined;

function resources(): number {
  // An Immediate is this very answer being written, no work that goes on.
  return process.getActiveResourcesInfo().filter((r) => r !== "Immediate" && r !== "TickObject" && r !== "WriteWrap").length;
}

/** What is given is set; empty is not. */
function given<T>(value: T | undefined): T | undefined {
  return value === undefined || value === "" || value === 0 ? undefined : value;
}

function dial(r: Request): Answer {
  // Standard output takes its pipe when it is first asked for.
  before ??= (process.stdout, process.stderr, resources());
  const options: ClientOptions = {
    target: r.target ?? "", certFile: given(r.cert), keyFile: given(r.key), caFile: given(r.ca), tokenFile: given(r.token_file),
    plaintext: r.plaintext, timeoutMs: given(r.timeout_ms), clock,
  };
  clients.set(r.client ?? "", new Client(options));
  return {};
}

function makeSource(r: Request): Answer {
  const client = clients.get(r.client ?? "");
  if (!client) throw new Error(`no client ${String(r.client)}`);
  sources.set(r.source ?? "", client.tokenSource(r.grant ?? "", {
    site: given(r.site), scopes: r.scopes, purpose: given(r.purpose), minTtlMs: given(r.min_ttl_ms), watch: r.watch,
  }));
  return {};
}

function sourceOf(r: Request): TokenSource {
  const source = sources.get(r.source ?? "");
  if (!source) throw new Error(`no source ${String(r.source)}`);
  return source;
}

function deadline(r: Request): { signal?: AbortSignal } {
  return r.deadline_ms ? { signal: AbortSignal.timeout(r.deadline_ms) } : {};
}

async function token(r: Request): Promise<Answer> {
  const source = sourceOf(r);
  const waiting = deadline(r);
  const began = performance.now();
  const outcomes = await Promise.allSettled(Array.from({ length: r.count || 1 }, () => source.token(waiting)));
  const elapsed_ms = Math.round(performance.now() - began);
  const failed = outcomes.filter((o) => o.status === "rejected");
  if (failed[0]) return { error: describe(failed[0].reason), failed: failed.length, elapsed_ms };
  const tokens = outcomes.filter((o): o is PromiseFulfilledResult<AccessToken> => o.status === "fulfilled").map((o) => o.value);
  const newest = tokens.reduce((a, b) => (b.generation > a.generation ? b : a));
  return {
    token: { access_token: newest.value, generation: newest.generation, api_base_url: newest.apiBaseUrl ?? "" },
    distinct: new Set(tokens.map((t) => t.value)).size,
    elapsed_ms,
  };
}

async function http(r: Request): Promise<Answer> {
  const began = performance.now();
  const send = sourceOf(r).createFetch({ origins: r.origins ?? [] });
  const init: RequestInit & { duplex?: "half" } = { method: r.method ?? "GET", ...deadline(r) };
  if (r.body) {
    init.body = r.repeatable === false ? once(r.body) : r.body;
    if (r.repeatable === false) init.duplex = "half";
  }
  const answer = await send(r.url ?? "", init);
  const body = (await answer.text()).slice(0, 4096);
  return { status: answer.status, body, elapsed_ms: Math.round(performance.now() - began) };
}

/** A body that can be read once. */
function once(text: string): ReadableStream<Uint8Array> {
  return new Blob([text]).stream() as ReadableStream<Uint8Array>;
}

async function close(r: Request): Promise<Answer> {
  const began = performance.now();
  await clients.get(r.client ?? "")?.close();
  const elapsed_ms = Math.round(performance.now() - began);
  const until = performance.now() + 3000;
  // The sockets that the global fetch keeps for a while are its own, not the SDK's.
  let leaked = resources() - (before ?? 0);
  while (leaked > 0 && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    leaked = resources() - (before ?? 0);
  }
  if (leaked > 0) console.error("left after close:", process.getActiveResourcesInfo().join(" "));
  return { leaked: Math.max(0, leaked), elapsed_ms };
}

function work(r: Request): Answer | Promise<Answer> {
  switch (r.op) {
    case "dial":
      return dial(r);
    case "source":
      return makeSource(r);
    case "token":
      return token(r);
    case "http":
      return http(r);
    case "close":
      return close(r);
    case "clock":
      skewMs = r.skew_ms ?? 0;
      return {};
    default:
      return { error: { reason: "UNSUPPORTED", message: `op ${r.op}` } };
  }
}

/** The protocol's word for what an application sees thrown. */
function describe(err: unknown): Answer {
  if (err instanceof HoldfastError) {
    const e = err as HoldfastError & { link?: string; why?: string; sites?: string[]; missing?: string[]; field?: string };
    return {
      reason: e.reason === "UNREACHABLE" ? "UNAVAILABLE" : e.reason,
      code: e.code, message: e.message, link: e.link ?? "", why: e.why ?? "", sites: e.sites ?? [], missing: e.missing ?? [],
      field: e.field ?? "", retry_after_ms: Math.round(e.retryAfterMs), request_id: e.requestId,
    };
  }
  if (err instanceof DOMException && err.name === "TimeoutError") return { reason: "DEADLINE_EXCEEDED", message: err.message };
  if (err instanceof TypeError && err.message === "fetch failed") return { reason: "IO", message: String(err.cause) };
  return { reason: "BUG", message: err instanceof Error ? String(err.stack) : String(err) };
}

async function serve(line: string): Promise<void> {
  const r = JSON.parse(line) as Request;
  let answer: Answer;
  try {
    answer = await work(r);
  } catch (err) {
    answer = { error: r.op === "dial" && !(err instanceof ConfigError) ? { reason: "CONFIG", message: String(err) } : describe(err) };
  }
  process.stdout.write(`${JSON.stringify({ id: r.id, ...answer })}\n`);
}

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => void serve(line));
lines.on("close", () => void Promise.all([...clients.values()].map((c) => c.close())).then(() => process.exit(0)));
