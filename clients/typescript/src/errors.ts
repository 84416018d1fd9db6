import { inspect } from "node:util";

/**
 * Why there is no token: the broker's own reasons, and those of this client:
 *
 * - UNREACHABLE: the broker did not answer, or what answered is no broker. Retry later.
 * - CLOSED: the client is closed.
 * - REFUSED_ORIGIN: a request would have carried the token to an origin that may not see it.
 * - CONFIG: the client's options do not make a client.
 *
 * A newer broker may have reasons that are not listed: treat those by `code` and `temporary`.
 */
export type Reason =
  | "GRANT_NOT_FOUND"
  | "CALLER_UNAUTHENTICATED"
  | "CALLER_NOT_ALLOWED"
  | "CONSENT_REQUIRED"
  | "SITE_NOT_GRANTED"
  | "SITE_AMBIGUOUS"
  | "SCOPE_NOT_GRANTED"
  | "GRANT_REVOKED"
  | "GRANT_QUARANTINED"
  | "APP_PAUSED"
  | "PROVIDER_UNAVAILABLE"
  | "REFRESH_IN_PROGRESS"
  | "STORE_UNAVAILABLE"
  | "KEY_UNAVAILABLE"
  | "AUDIT_UNAVAILABLE"
  | "PROVIDER_RATE_LIMITED"
  | "CALLER_RATE_LIMITED"
  | "INVALID_REQUEST"
  | "INTERNAL"
  | "STREAM_ENDED"
  | "UNREACHABLE"
  | "CLOSED"
  | "REFUSED_ORIGIN"
  | "CONFIG"
  | (string & Record<never, never>);

/** What is known of a refusal; everything may be left out when a test makes one. */
export interface Refusal {
  /** For people: what was wrong and what to do next. */
  message?: string | undefined;
  /** Name of the gRPC code, e.g. "FAILED_PRECONDITION"; empty: there was no call. */
  code?: string | undefined;
  /** Milliseconds to wait at least before a retry; 0: the broker named none. */
  retryAfterMs?: number | undefined;
  /** Finds the call in the broker's log and audit record. */
  requestId?: string | undefined;
  /** For ConsentRequired: a short word such as REFUSED. */
  why?: string | undefined;
  /** For ConsentRequired, SiteNotGranted and ScopeNotGranted: the connect page to send a person to. */
  link?: string | undefined;
  /** For SiteNotGranted and SiteAmbiguous: the sites that the grant reaches, for people. */
  sites?: readonly string[] | undefined;
  /** For ScopeNotGranted: the scopes that the token lacks. */
  missing?: readonly string[] | undefined;
  /** For InvalidRequest: the field that breaks its rule. */
  field?: string | undefined;
  /** What failed below, where that is no answer of the broker. */
  cause?: unknown;
}

const temporaryReasons = new Set<string>([
  "PROVIDER_UNAVAILABLE", "REFRESH_IN_PROGRESS", "STORE_UNAVAILABLE", "KEY_UNAVAILABLE", "AUDIT_UNAVAILABLE",
  "PROVIDER_RATE_LIMITED", "CALLER_RATE_LIMITED", "INTERNAL", "UNREACHABLE",
]);
const temporaryCodes = new Set<string>([
  "UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "CANCELLED",
]);

/** Why there is no token. Every error that this package makes is one. */
export class HoldfastError extends Error {
  /** Machine-readable reason. */
  readonly reason: Reason;
  /** Name of the gRPC code of the call, e.g. "UNAVAILABLE"; empty: there was no call. */
  readonly code: string;
  /** Milliseconds to wait at least before a retry; 0: a retry is no cure, or no time was named. */
  readonly retryAfterMs: number;
  /** Finds the call in the broker's log and audit record; may be empty. */
  readonly requestId: string;

  constructor(reason: Reason, of: Refusal = {}) {
    const request = of.requestId ? ` (request ${of.requestId})` : "";
    super(`holdfast: ${reason}: ${of.message ?? "no message"}${request}`, of.cause === undefined ? undefined : { cause: of.cause });
    this.name = new.target.name;
    this.reason = reason;
    this.code = of.code ?? "";
    this.retryAfterMs = of.retryAfterMs ?? 0;
    this.requestId = of.requestId ?? "";
  }

  /** True if a later call may succeed without anybody acting. */
  get temporary(): boolean {
    return temporaryReasons.has(this.reason) || temporaryCodes.has(this.code);
  }
}

/** A refusal that a person may lift by consenting at `link`. */
abstract class WithLink extends HoldfastError {
  // Private, so that no log shows it: whoever holds the link can consent.
  readonly #link: string;

  constructor(reason: Reason, of: Refusal) {
    super(reason, of);
    this.#link = of.link ?? "";
  }

  /** URL of the connect page; may be empty. Give it to the person meant only. */
  get link(): string {
    return this.#link;
  }
}

/** The grant has no live token family: send a person to `link`. A retry does not help. */
export class ConsentRequired extends WithLink {
  /** A short word, such as REFUSED; may be empty. */
  readonly why: string;

  constructor(of: Refusal = {}) {
    super("CONSENT_REQUIRED", of);
    this.why = of.why ?? "";
  }
}

/** The grant does not reach the site: ask for a new consent, at `link`, that includes it. */
export class SiteNotGranted extends WithLink {
  /** The sites that it reaches. */
  readonly sites: readonly string[];

  constructor(of: Refusal = {}) {
    super("SITE_NOT_GRANTED", of);
    this.sites = of.sites ?? [];
  }
}

/** The token lacks scopes: ask for a new consent, at `link`, that includes them. */
export class ScopeNotGranted extends WithLink {
  /** The scopes that it lacks. */
  readonly missing: readonly string[];

  constructor(of: Refusal = {}) {
    super("SCOPE_NOT_GRANTED", of);
    this.missing = of.missing ?? [];
  }
}

/** Several sites match: name one by its cloud id. */
export class SiteAmbiguous extends HoldfastError {
  /** The candidates. */
  readonly sites: readonly string[];

  constructor(of: Refusal = {}) {
    super("SITE_AMBIGUOUS", of);
    this.sites = of.sites ?? [];
  }
}

/** A field of the request breaks its rule. */
export class InvalidRequest extends HoldfastError {
  /** Which one. */
  readonly field: string;

  constructor(of: Refusal = {}) {
    super("INVALID_REQUEST", of);
    this.field = of.field ?? "";
  }
}

/** There is no such grant, or the policy hides it. */
export class GrantNotFound extends HoldfastError {
  constructor(of: Refusal = {}) { super("GRANT_NOT_FOUND", of); }
}

/** The broker does not know this caller: its certificate or token is missing, wrong or has ended. */
export class CallerUnauthenticated extends HoldfastError {
  constructor(of: Refusal = {}) { super("CALLER_UNAUTHENTICATED", of); }
}

/** The policy does not let this caller do it: ask an operator. */
export class CallerNotAllowed extends HoldfastError {
  constructor(of: Refusal = {}) { super("CALLER_NOT_ALLOWED", of); }
}

/** An operator ended the grant: stop. */
export class GrantRevoked extends HoldfastError {
  constructor(of: Refusal = {}) { super("GRANT_REVOKED", of); }
}

/** The grant may be a copy: stop, and tell an operator. */
export class GrantQuarantined extends HoldfastError {
  constructor(of: Refusal = {}) { super("GRANT_QUARANTINED", of); }
}

/** The grant's app is misconfigured or paused: tell an operator. */
export class AppPaused extends HoldfastError {
  constructor(of: Refusal = {}) { super("APP_PAUSED", of); }
}

/** The broker did not answer, or what answered is no broker. Retry later. */
export class Unreachable extends HoldfastError {
  constructor(of: Refusal = {}) { super("UNREACHABLE", of); }
}

/** The client is closed. */
export class ClientClosed extends HoldfastError {
  constructor() { super("CLOSED", { message: "the client is closed" }); }
}

/** A request was not sent, since its origin may not see the token. */
export class RefusedOrigin extends HoldfastError {
  constructor(of: Refusal = {}) { super("REFUSED_ORIGIN", of); }
}

/** The client's options do not make a client. */
export class ConfigError extends HoldfastError {
  /** @internal The message without the reason before it. */
  readonly text: string;

  constructor(message: string, cause?: unknown) {
    super("CONFIG", { message, cause });
    this.text = message;
  }
}

const classes: Readonly<Record<string, new (of: Refusal) => HoldfastError>> = {
  CONSENT_REQUIRED: ConsentRequired, SITE_NOT_GRANTED: SiteNotGranted, SITE_AMBIGUOUS: SiteAmbiguous,
  SCOPE_NOT_GRANTED: ScopeNotGranted, INVALID_REQUEST: InvalidRequest, GRANT_NOT_FOUND: GrantNotFound,
  CALLER_UNAUTHENTICATED: CallerUnauthenticated, CALLER_NOT_ALLOWED: CallerNotAllowed, GRANT_REVOKED: GrantRevoked,
  GRANT_QUARANTINED: GrantQuarantined, APP_PAUSED: AppPaused, UNREACHABLE: Unreachable,
};

/** The error of a reason: its own class, or HoldfastError where nothing more is known. */
export function refusal(reason: Reason, of: Refusal = {}): HoldfastError {
  const known = classes[reason];
  return known ? new known(of) : new HoldfastError(reason, of);
}

/** For messages: what went wrong, without the stack and without what hangs on it. */
export function inShort(err: unknown): string {
  if (err instanceof ConfigError) return err.text;
  return err instanceof Error ? err.message : inspect(err);
}
