import { Code, ConnectError } from "@connectrpc/connect";

/** Where a connection leads and what it is made of, for the words of an error. */
export interface Way {
  /** host:port. */
  readonly target: string;
  readonly host: string;
  readonly plaintext: boolean;
  readonly certFile?: string | undefined;
  readonly caFile?: string | undefined;
}

/** The broker's certificate leads to no CA that is believed. */
const untrusted = new Set([
  "UNABLE_TO_GET_ISSUER_CERT", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "DEPTH_ZERO_SELF_SIGNED_CERT", "SELF_SIGNED_CERT_IN_CHAIN", "CERT_SIGNATURE_FAILURE", "CERT_UNTRUSTED", "CERT_REJECTED",
  "CERT_CHAIN_TOO_LONG", "PATH_LENGTH_EXCEEDED", "INVALID_CA", "INVALID_PURPOSE",
]);

/** What a TLS peer says of the certificate that it was shown. */
const refusedCertificate =
  /^ERR_SSL_[\w/]*ALERT_((?:UNKNOWN_CA|ACCESS_DENIED|DECRYPT_ERROR|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_(?:EXPIRED|REVOKED|UNKNOWN|REQUIRED)))$/;

/** Words by the code that Node gives an error: what is wrong, and what to do next. */
const words: Readonly<Record<string, (way: Way, err: Error) => string>> = {
  CERT_HAS_EXPIRED: () => "the broker's certificate, or its CA's, has expired: have it renewed, unless it is this machine's clock that is wrong",
  CERT_NOT_YET_VALID: () => "the broker's certificate, or its CA's, is not valid yet: check this machine's clock, and the broker's",
  ERR_TLS_CERT_ALTNAME_INVALID: (way, err) =>
    `the broker's certificate is not for ${way.host}${namesOf(err)}: set target to a name that it is for, or have it issued for this one`,
  ERR_SSL_WRONG_VERSION_NUMBER: noTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: noTls,
  ERR_SSL_HTTP_REQUEST: noTls,
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: noHttp2,
  ERR_HTTP2_ERROR: noHttp2,
  ERR_HTTP2_SESSION_ERROR: noHttp2,
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: (way) => `what answers at ${way.target} speaks another version of TLS: is it the broker?`,
  ECONNREFUSED: (way) => `nothing listens at ${way.target}: is the broker running, and is that its gRPC port?`,
  ENOTFOUND: (way) => `there is no host ${way.host}: check target`,
  EAI_AGAIN: (way) => `the name ${way.host} cannot be looked up now: check this machine's DNS, or try later`,
  ETIMEDOUT: noAnswer,
  EHOSTUNREACH: noAnswer,
  ENETUNREACH: noAnswer,
  ECONNRESET: (way) =>
    `${way.target} ended the connection: try later; if it never worked, check that target is the broker's gRPC port${ofIdentity(way)}`,
};

function noTls(way: Way): string {
  return `what answers at ${way.target} does not speak TLS: set target to the broker's gRPC port, or plaintext for a development broker on this machine`;
}

function noHttp2(way: Way): string {
  return `what answers at ${way.target} does not speak HTTP/2: check that target is the broker's gRPC port${way.plaintext ? ofIdentity(way) : ""}`;
}

function noAnswer(way: Way): string {
  return `${way.target} does not answer: check target and the network between, or try later`;
}

function ofIdentity(way: Way): string {
  if (way.plaintext) return ", and that it is one without TLS, or leave plaintext out";
  return way.certFile === undefined ? "" : `, and that it believes the CA of the certificate in ${way.certFile}`;
}

/** The names that the peer's certificate is for, as Node hands it out with the error. */
function namesOf(err: Error): string {
  const { cert } = err as { cert?: { subjectaltname?: unknown } };
  const names = cert?.subjectaltname;
  return typeof names === "string" && names !== "" && names.length <= 300 ? ` but for ${names}` : "";
}

/** What connect-node says of a connection that pings found dead. */
const silent = "PING timed out";

/** The error below that has a code of Node's, if there is one. */
function native(err: unknown): { code: string; of: Error } | undefined {
  for (let e = err, depth = 0; e instanceof Error && depth < 10; e = e.cause, depth++) {
    if (!(e instanceof ConnectError) && "code" in e && typeof e.code === "string") return { code: e.code, of: e };
  }
  return undefined;
}

/**
 * Puts words for people to a call that no broker answered: what is wrong, and what to
 * do next; what the libraries below said becomes its cause. `failure` is what ended the
 * socket, which the call itself is not always told. Everything else stays as it is.
 */
export function explained(err: unknown, failure: Error | undefined, way: Way): unknown {
  if (!(err instanceof ConnectError) || err.details.length > 0 || err.code === Code.DeadlineExceeded) return err;
  if (err.code === Code.Unavailable && err.rawMessage === silent) return new ConnectError(noAnswer(way), err.code, undefined, undefined, err);
  const found = native(err) ?? native(failure) ?? (err.code === Code.Canceled ? { code: "ECONNRESET", of: err } : undefined);
  if (!found) return err;
  const text = phrase(found.code, found.of, way);
  return text === undefined ? err : new ConnectError(text, Code.Unavailable, undefined, undefined, found.of);
}

function phrase(code: string, of: Error, way: Way): string | undefined {
  if (untrusted.has(code)) {
    const by = way.caFile === undefined ? "a CA of the system" : `the CA in ${way.caFile}`;
    return `the broker's certificate was not issued by ${by}: set caFile to the file of the CA that did`;
  }
  const refused = refusedCertificate.exec(code)?.[1];
  if (refused !== undefined) {
    if (way.certFile === undefined) return "the broker demands a client certificate: set certFile and keyFile";
    const why = refused.toLowerCase().replaceAll("_", " ");
    return `the broker refused the certificate in ${way.certFile} (${why}): have it issued, or renewed, by a CA that the broker believes`;
  }
  const known = words[code];
  if (known) return known(way, of);
  return code.startsWith("ERR_SSL_") ? `no TLS connection to ${way.target} (${code}): is it the broker's gRPC port?` : undefined;
}
