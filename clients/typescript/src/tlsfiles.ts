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
  const content = (file: string | undefined, what: string) => {
    if (file === undefined) return undefined;
    try {
      return readFileSync(file);
    } catch (err) {
      throw new ConfigError(`reading ${what}: ${inShort(err)}`);
    }
  };
  return {
    cert: content(files.certFile, "the caller's certificate"),
    key: content(files.keyFile, "the caller's key"),
    ca: content(files.caFile, "the broker's CA"),
  };
}

function context(files: TlsFiles): tls.SecureContext {
  const material = read(files);
  try {
    return tls.createSecureContext({ ...material, minVersion: "TLSv1.2" });
  } catch (err) {
    throw new ConfigError(`loading ${Object.values(files).filter(Boolean).join(", ")}: ${inShort(err)}`);
  }
}

/** Throws ConfigError if the files do not make an identity now. */
export function checkFiles(files: TlsFiles): void {
  context(files);
}

/**
 * Makes the socket of a new connection from what the files hold at that moment, so that
 * a renewed certificate is used without a restart. An unreadable file fails the
 * connection alone: the next one looks again.
 */
export function socketMaker(files: TlsFiles, host: string, port: number): (authority: URL) => tls.TLSSocket {
  return () => {
    const socket = tls.connect({
      host, port, secureContext: context(files),
      ALPNProtocols: ["h2"],
      ...(isIP(host) ? {} : { servername: host }),
    });
    socket.setTimeout(handshakeMs, () => {
      socket.destroy(new Error(`no TLS connection to ${host} within ${String(handshakeMs / 1000)} s`));
    });
    socket.once("secureConnect", () => { socket.setTimeout(0); });
    return socket;
  };
}
