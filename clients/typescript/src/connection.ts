import { isIP } from "node:net";

import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { Http2SessionManager, createGrpcTransport, type GrpcTransportOptions } from "@connectrpc/connect-node";

import type { Clock } from "./clock.js";
import { ConfigError } from "./errors.js";
import { fromCall } from "./status.js";
import { checkFiles, socketMaker } from "./tlsfiles.js";
import { tokenFile } from "./tokenfile.js";

/** Where the broker is, and who this caller is. */
export interface ConnectionOptions {
  /** Broker's address, host:port. */
  target: string;
  /**
   * PEM files of this caller's certificate and key. They are read again for every new
   * connection, so that a renewed certificate is used without a restart.
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
  const sessions = new Sessions(() =>
    new Http2SessionManager(baseUrl, pings, o.plaintext ? {} : { createConnection: createConnection(o, host, port) }));
  if (o.certFile !== undefined) interceptors.push(sessions.afterRefusal);
  const transport = createGrpcTransport({
    baseUrl, interceptors, sessionManager: sessions, acceptCompression: [], readMaxBytes: maxAnswer,
  });
  return { transport, close: () => { sessions.abort(); } };
}

/** As socketMaker; a file that cannot be read just now is no reason to give up for good. */
function createConnection(o: ConnectionOptions, host: string, port: number) {
  const make = socketMaker(o, host, port);
  return (authority: URL) => {
    try {
      return make(authority);
    } catch (err) {
      throw new ConnectError(err instanceof Error ? err.message : "making a connection", Code.Unavailable);
    }
  };
}

/**
 * The connection that calls use. One that was made with a credential that has ended
 * since is replaced: the broker refuses it, and a new one shows what the files hold.
 */
class Sessions implements NonNullable<GrpcTransportOptions["sessionManager"]> {
  #current: Http2SessionManager;
  #closed = false;
  readonly #make: () => Http2SessionManager;

  constructor(make: () => Http2SessionManager) {
    this.#make = make;
    this.#current = make();
  }

  get authority(): string {
    return this.#current.authority;
  }

  request(...args: Parameters<Http2SessionManager["request"]>): ReturnType<Http2SessionManager["request"]> {
    return this.#current.request(...args);
  }

  notifyResponseByteRead(...args: Parameters<Http2SessionManager["notifyResponseByteRead"]>): void {
    this.#current.notifyResponseByteRead(...args);
  }

  abort(): void {
    this.#closed = true;
    this.#current.abort();
  }

  /** After CALLER_UNAUTHENTICATED the next call opens a new connection. */
  readonly afterRefusal: Interceptor = (next) => async (request) => {
    const used = this.#current;
    try {
      const answer = await next(request);
      return answer.stream ? { ...answer, message: this.#watched(answer.message, used) } : answer;
    } catch (err) {
      this.#refused(err, used);
      throw err;
    }
  };

  /** The messages of a stream; it may be refused at its end. */
  async *#watched<T>(messages: AsyncIterable<T>, used: Http2SessionManager): AsyncGenerator<T> {
    try {
      yield* messages;
    } catch (err) {
      this.#refused(err, used);
      throw err;
    }
  }

  #refused(err: unknown, used: Http2SessionManager): void {
    if (this.#closed || this.#current !== used || fromCall(err).reason !== "CALLER_UNAUTHENTICATED") return;
    this.#current = this.#make();
    used.abort();
  }
}

function parseTarget(target: string): { host: string; port: number } {
  const m = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/[\]@?#]+)):(\d{1,5})$/.exec(target);
  const host = m?.[1] ?? m?.[2];
  const port = Number(m?.[3]);
  if (host === undefined || port < 1 || port > 65535) {
    throw new ConfigError(`target ${JSON.stringify(target)}: want host:port, e.g. "holdfast.internal:7443"`);
  }
  return { host, port };
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
