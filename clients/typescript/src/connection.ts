import { isIP } from "node:net";

import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { Http2SessionManager, createGrpcTransport } from "@connectrpc/connect-node";

import type { Clock } from "./clock.js";
import { ConfigError, inShort } from "./errors.js";
import type { Way } from "./reach.js";
import { Sessions, type Session } from "./sessions.js";
import { certificateOf, checkFiles, socketMaker, type Shown } from "./tlsfiles.js";
import { tokenFile } from "./tokenfile.js";

/** Where the broker is, and who this caller is. */
export interface ConnectionOptions {
  /** Broker's address, host:port. */
  target: string;
  /**
   * PEM files of this caller's certificate and key. They are read again for every new
   * connection, so that a renewed certificate is used without a restart. A call that is refused
   * since its connection's certificate has ended is made once more, on a new one.
   */
  certFile?: string | undefined;
  keyFile?: string | undefined;
  /**
   * File of a bearer token that this caller shows instead of a certificate, e.g. a
   * Kubernetes projected service-account token. It is read again as it changes.
   */
  tokenFile?: string | undefined;
  /** PEM file of the CA that signed the broker's certificate, read for every new connection. Default: the system's. */
  caFile?: string | undefined;
  /**
   * Connect without TLS and without an identity, for tests and a development broker on
   * the same machine; refused for any target that is not a loopback address. Default: false.
   */
  plaintext?: boolean | undefined;
  /** Interceptors of @connectrpc/connect, e.g. one that passes a trace context on. Default: none. */
  interceptors?: readonly Interceptor[] | undefined;
}

/** A way to the broker that can be closed. */
export interface Connection {
  readonly transport: Transport;
  /** Ends the connection and all calls under way. */
  close(): void;
}

// The broker allows a ping each 10 s. A peer that is gone is noticed in 30 s, by calls
// under way and before the first call after a pause.
const pings = { pingIntervalMs: 20_000, pingTimeoutMs: 10_000 };

/** Largest answer that is read, in bytes; a token has up to 64 KiB. */
const maxAnswer = 1 << 20;

/** Makes a connection; it is opened by the first call. Throws ConfigError. */
export function connect(o: ConnectionOptions, clock: Clock): Connection {
  const { host, port } = parseTarget(o.target);
  checkIdentity(o, host);
  const interceptors = [...(o.interceptors ?? [])];
  if (o.tokenFile !== undefined) interceptors.push(tokenFile(o.tokenFile, clock));
  const baseUrl = `${o.plaintext ? "http" : "https"}://${isIP(host) === 6 ? `[${host}]` : host}:${String(port)}`;
  if (!o.plaintext) checkFiles(o);
  const way: Way = { target: o.target, host, plaintext: o.plaintext === true, certFile: o.certFile, caFile: o.caFile };
  const sessions = new Sessions(() => session(baseUrl, o, host, port), way, () => certificateOf(o));
  interceptors.push(sessions.afterFailure);
  const transport = createGrpcTransport({
    baseUrl, interceptors, sessionManager: sessions, acceptCompression: [], readMaxBytes: maxAnswer,
  });
  return { transport, close: () => { sessions.abort(); } };
}

function session(baseUrl: string, o: ConnectionOptions, host: string, port: number): Session {
  const shown: Shown = { cert: undefined, failure: undefined };
  if (o.plaintext) return { manager: new Http2SessionManager(baseUrl, pings), shown };
  const make = socketMaker(o, host, port);
  const createConnection = () => {
    shown.failure = undefined;
    try {
      return make(shown);
    } catch (err) {
      // A file that cannot be read just now is no reason to give up for good.
      throw new ConnectError(inShort(err), Code.Unavailable, undefined, undefined, err);
    }
  };
  return { manager: new Http2SessionManager(baseUrl, pings, { createConnection }), shown };
}

function parseTarget(target: string | undefined): { host: string; port: number } {
  if (typeof target !== "string") { // JavaScript with a variable of the environment that is not set
    throw new ConfigError('target is not set; write host:port, e.g. "holdfast.internal:7443"');
  }
  const m = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/[\]@?#]+)):(\d{1,5})$/.exec(target);
  const host = m?.[1] ?? m?.[2];
  if (host === undefined) throw new ConfigError(`target ${JSON.stringify(target)}: ${targetAdvice(target)}`);
  const port = Number(m?.[3]);
  if (port < 1 || port > 65535) {
    throw new ConfigError(`target ${JSON.stringify(target)}: port ${String(port)} is none; write one from 1 to 65535`);
  }
  return { host, port };
}

/** What is wrong with a target that is no host:port, and what to write. */
function targetAdvice(target: string): string {
  const url = /^[a-z][a-z0-9+.-]*:\/{2,3}([^\s/:@?#]+)(:\d{1,5})?([/?#].*)?$/i.exec(target);
  if (url) return `it is no URL; write "${String(url[1])}${url[2] ?? ":7443"}"`;
  const v6 = /^\[?([0-9a-f:.]+?)\]?(?::(\d{4,5}))?$/i.exec(target);
  if (v6 && isIP(v6[1] ?? "") === 6) return `write an IPv6 address in brackets, e.g. "[${String(v6[1])}]:${v6[2] ?? "7443"}"`;
  if (/^[^\s:/[\]@?#]+$/.test(target)) return `it has no port; write host:port, e.g. "${target}:7443"`;
  return 'it is not of the form host:port; write host:port, e.g. "holdfast.internal:7443"';
}

function checkIdentity(o: ConnectionOptions, host: string): void {
  const certificate = o.certFile !== undefined || o.keyFile !== undefined;
  if (o.plaintext) {
    if (certificate || o.tokenFile !== undefined) throw new ConfigError("choose plaintext or an identity, not both");
    if (!loopback(host)) {
      throw new ConfigError(`plaintext to ${JSON.stringify(o.target)}: tokens would cross the network in the clear; use certFile and keyFile`);
    }
    return;
  }
  if (certificate && o.tokenFile !== undefined) {
    throw new ConfigError("choose certFile and keyFile or tokenFile: the broker refuses a call that shows a certificate and a token");
  }
  if (o.tokenFile === undefined && (o.certFile === undefined || o.keyFile === undefined)) {
    throw new ConfigError("no identity: the broker demands a client certificate or a token; use certFile and keyFile, or tokenFile");
  }
}

/** Names other than localhost do not count: they may resolve to anything. */
function loopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
