import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import * as tls from "node:tls";

import { ConfigError, inShort } from "./errors.js";

/** PEM files of an identity and of the CA that signed the broker's certificate. */
export interface TlsFiles {
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly caFile?: string | undefined;
}

/** Milliseconds that a connection and its handshake may take. */
const handshakeMs = 20_000;

/** What the files hold now. */
interface Material {
  readonly cert: Buffer | undefined;
  readonly key: Buffer | undefined;
  readonly ca: Buffer | undefined;
}

function read(files: TlsFiles): Material {
  const content = (file: string | undefined, what: string, option: string) => {
    if (file === undefined) return undefined;
    try {
      return readFileSync(file);
    } catch (err) {
      throw new ConfigError(`reading ${what}: ${inShort(err)}; check ${option}`, err);
    }
  };
  const ca = content(files.caFile, "the broker's CA", "caFile");
  // OpenSSL takes what holds none, and believes nobody.
  if (ca !== undefined && !certified.test(ca.toString("latin1"))) {
    throw new ConfigError(`reading the broker's CA: ${String(files.caFile)} holds no PEM certificate; check caFile`);
  }
  return {
    cert: content(files.certFile, "the caller's certificate", "certFile"),
    key: content(files.keyFile, "the caller's key", "keyFile"),
    ca,
  };
}

const certified = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/;

function context(files: TlsFiles): { secureContext: tls.SecureContext; cert: Buffer | undefined } {
  const material = read(files);
  try {
    return { secureContext: tls.createSecureContext({ ...material, minVersion: "TLSv1.2" }), cert: material.cert };
  } catch (err) {
    throw new ConfigError(`loading ${unloaded(files, err)}`, err);
  }
}

/** Which files do not load, and why; OpenSSL's own words are for those who know it. */
function unloaded(files: TlsFiles, err: unknown): string {
  const { certFile = "", keyFile = "", caFile = "" } = files;
  switch (err instanceof Error && "code" in err ? err.code : "") {
    case "ERR_OSSL_X509_KEY_VALUES_MISMATCH":
      return `${certFile} and ${keyFile}: the key does not belong to the certificate; check certFile and keyFile`;
    case "ERR_OSSL_PEM_NO_START_LINE":
      return `${certFile}: it holds no PEM certificate; check certFile`;
    case "ERR_OSSL_UNSUPPORTED":
    case "ERR_OSSL_BAD_DECRYPT":
    case "ERR_MISSING_PASSPHRASE":
      return `${keyFile}: it holds no PEM key without a passphrase; check keyFile`;
    default:
      return `${[certFile, keyFile, caFile].filter(Boolean).join(", ")}: ${inShort(err)}`;
  }
}

/** Throws ConfigError if the files do not make an identity now. */
export function checkFiles(files: TlsFiles): void {
  context(files);
}

/** The certificate that a new connection would show; undefined: none, or the files are just being replaced. */
export function certificateOf(files: TlsFiles): Buffer | undefined {
  try {
    return context(files).cert;
  } catch {
    return undefined;
  }
}

/** What is known of the newest socket that was made. */
export interface Shown {
  /** The certificate that it showed. */
  cert: Buffer | undefined;
  /** What ended it. */
  failure: Error | undefined;
}

/**
 * Makes the socket of a new connection from what the files hold at that moment, so that
 * a renewed certificate is used without a restart. An unreadable file fails the
 * connection alone: the next one looks again.
 */
export function socketMaker(files: TlsFiles, host: string, port: number): (shown: Shown) => tls.TLSSocket {
  return (shown) => {
    const { secureContext, cert } = context(files);
    const socket = tls.connect({
      host, port, secureContext,
      ALPNProtocols: ["h2"],
      ...(isIP(host) ? {} : { servername: host }),
    });
    shown.cert = cert;
    socket.once("error", (err: Error) => { shown.failure = err; });
    socket.setTimeout(handshakeMs, () => {
      socket.destroy(failure("ETIMEDOUT", `no TLS connection to ${host} within ${String(handshakeMs / 1000)} s`));
    });
    socket.once("secureConnect", () => {
      socket.setTimeout(0);
      if (socket.alpnProtocol === "h2") return;
      // Without this a call would wait for its deadline. Not at once: Node's HTTP/2 takes
      // the socket over in this very event.
      setImmediate(() => socket.destroy(failure("ERR_HTTP2_ERROR", `${host} did not agree to speak HTTP/2`)));
    });
    return socket;
  };
}

/** An error with one of Node's codes. */
function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
