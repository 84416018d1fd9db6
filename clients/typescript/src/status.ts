import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";

import { HoldfastError, Unreachable, refusal, type Refusal } from "./errors.js";
import { ErrorReason } from "./gen/holdfast/v1/error_reason_pb.js";
import type { BatchError } from "./gen/holdfast/v1/token_service_pb.js";

/** Marks an ErrorInfo as the broker's. */
const errorDomain = "holdfast";

/** Turns what a call threw into a HoldfastError. */
export function fromCall(err: unknown): HoldfastError {
  if (err instanceof HoldfastError) return err;
  const e = ConnectError.from(err);
  const of: Refusal & Record<"message" | "code", string> = { message: e.rawMessage, code: codeName(e.code) };
  let said: Said = { reason: "", metadata: {} };
  try {
    said = details(e, of);
  } catch {
    // What are no messages, the broker did not send.
  }
  if (said.reason === "") {
    // What is no broker's answer says nothing about the grant, whatever its code.
    if (e.code === Code.DeadlineExceeded) of.message = "the broker did not answer in time: try later, or allow more by timeoutMs";
    return new Unreachable({ ...of, code: transportCode(e), cause: e.cause ?? err });
  }
  return refusal(said.reason, { ...of, ...fromMetadata(said.metadata) });
}

/** What the broker's ErrorInfo says; an empty reason: there is none. */
interface Said {
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Reads the details of an error. Throws if they are no messages. */
function details(e: ConnectError, of: Refusal): Said {
  let said: Said = { reason: "", metadata: {} };
  for (const d of e.details) {
    if (!("value" in d) || !(d.value instanceof Uint8Array)) continue;
    switch ("type" in d ? d.type : "") {
      case "google.rpc.ErrorInfo": {
        const info = errorInfo(d.value);
        if (info.domain === errorDomain) said = info;
        break;
      }
      case "google.rpc.RetryInfo":
        of.retryAfterMs = retryDelayMs(d.value);
        break;
      case "google.rpc.BadRequest":
        of.field = firstField(d.value);
        break;
    }
  }
  return said;
}

/** The codes of the reasons, as the contract has them. */
const codes: Readonly<Record<string, string | undefined>> = {
  GRANT_NOT_FOUND: "NOT_FOUND", CALLER_UNAUTHENTICATED: "UNAUTHENTICATED", CALLER_NOT_ALLOWED: "PERMISSION_DENIED",
  PROVIDER_UNAVAILABLE: "UNAVAILABLE", REFRESH_IN_PROGRESS: "UNAVAILABLE", STORE_UNAVAILABLE: "UNAVAILABLE",
  KEY_UNAVAILABLE: "UNAVAILABLE", AUDIT_UNAVAILABLE: "UNAVAILABLE", STREAM_ENDED: "UNAVAILABLE", UNREACHABLE: "UNAVAILABLE",
  PROVIDER_RATE_LIMITED: "RESOURCE_EXHAUSTED", CALLER_RATE_LIMITED: "RESOURCE_EXHAUSTED",
  INVALID_REQUEST: "INVALID_ARGUMENT", INTERNAL: "INTERNAL",
};

/** The code that a call fails with for a reason; of one of a newer broker, by whether it passes. */
export function codeOf(reason: string, passes: boolean): string {
  return codes[reason] ?? (passes ? "UNAVAILABLE" : "FAILED_PRECONDITION");
}

/** Turns the error of a watched grant into a HoldfastError, with the code that a call would have failed with. */
export function fromBatchError(e: BatchError): HoldfastError {
  const retry = e.retryAfter;
  const reason = reasonName(e.reason);
  return refusal(reason, {
    ...fromMetadata(e.metadata),
    message: e.message,
    field: e.field,
    retryAfterMs: retry ? Math.max(0, Number(retry.seconds) * 1000 + retry.nanos / 1e6) : 0,
    code: codeOf(reason, retry !== undefined),
  });
}

/** The name without the prefix; a newer broker may send one that has none here. */
function reasonName(reason: number): string {
  return (ErrorReason as Readonly<Record<number, string | undefined>>)[reason] ?? "UNSPECIFIED";
}

function fromMetadata(m: Readonly<Record<string, string>>): Refusal {
  return {
    why: m.why, link: m.link, requestId: m.request_id,
    sites: m.sites && m.sites !== "none" ? m.sites.split(", ") : [],
    missing: m.missing ? m.missing.split(/[ ,]+/) : [],
  };
}

/** The code of a call that no broker answered: what broke on the way is UNAVAILABLE. */
function transportCode(e: ConnectError): string {
  switch (e.code) {
    case Code.Aborted:
    case Code.Internal:
    case Code.Unknown:
      return "UNAVAILABLE";
    default:
      return codeName(e.code);
  }
}

function codeName(code: Code): string {
  if (code === Code.Canceled) return "CANCELLED";
  return Code[code].replace(/[A-Z]/g, (c, at: number) => (at ? "_" : "") + c).toUpperCase();
}

/** Calls `take` for each field; what it does not read is skipped. */
function fields(bytes: Uint8Array, take: (r: BinaryReader, field: number) => boolean): void {
  const r = new BinaryReader(bytes);
  while (r.pos < r.len) {
    const [field, type] = r.tag();
    if (type !== WireType.LengthDelimited && type !== WireType.Varint || !take(r, field)) r.skip(type, field);
  }
}

// google.rpc's details are three small messages whose numbers never change: reading
// them here spares users a copy of googleapis.

/** google.rpc.ErrorInfo: reason 1, domain 2, metadata 3, a map. */
function errorInfo(bytes: Uint8Array) {
  const info = { reason: "", domain: "", metadata: {} as Record<string, string> };
  fields(bytes, (r, field) => {
    if (field === 1) info.reason = r.string();
    else if (field === 2) info.domain = r.string();
    else if (field === 3) {
      let key = "", value = "";
      fields(r.bytes(), (entry, n) => {
        if (n === 1) key = entry.string();
        else if (n === 2) value = entry.string();
        else return false;
        return true;
      });
      info.metadata[key] = value;
    } else return false;
    return true;
  });
  return info;
}

/** google.rpc.RetryInfo: retry_delay 1, a Duration of seconds 1 and nanos 2. */
function retryDelayMs(bytes: Uint8Array): number {
  let ms = 0;
  fields(bytes, (r, field) => {
    if (field !== 1) return false;
    fields(r.bytes(), (d, n) => {
      if (n === 1) ms += Number(d.int64()) * 1000;
      else if (n === 2) ms += d.int32() / 1e6;
      else return false;
      return true;
    });
    return true;
  });
  return Math.max(0, ms);
}

/** google.rpc.BadRequest: field_violations 1, each of field 1 and description 2. */
function firstField(bytes: Uint8Array): string {
  let first = "";
  fields(bytes, (r, field) => {
    if (field !== 1) return false;
    fields(r.bytes(), (v, n) => {
      if (n !== 1) return false;
      const name = v.string();
      first ||= name;
      return true;
    });
    return true;
  });
  return first;
}
