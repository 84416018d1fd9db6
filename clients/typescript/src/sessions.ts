import { Code, ConnectError, type Interceptor, type StreamResponse } from "@connectrpc/connect";
import type { GrpcTransportOptions, Http2SessionManager } from "@connectrpc/connect-node";

import { explained, type Way } from "./reach.js";
import { fromCall } from "./status.js";
import type { Shown } from "./tlsfiles.js";

/** A manager of connections, and what is known of its newest one. */
export interface Session {
  readonly manager: Http2SessionManager;
  readonly shown: Shown;
}

/** What a call began with. */
interface Used {
  readonly session: Session;
  /** The certificate that the session's connection showed; undefined: it had none yet. */
  readonly cert: Buffer | undefined;
}

/**
 * The connection that calls use. A certificate is shown once for each connection, which
 * may outlive it: the broker then refuses its calls. If the files hold another
 * certificate by then, the connection is replaced and the call made once more.
 */
export class Sessions implements NonNullable<GrpcTransportOptions["sessionManager"]> {
  #current: Session;
  #closed = false;
  readonly #make: () => Session;
  readonly #way: Way;
  readonly #certificate: () => Buffer | undefined;

  /** `certificate` is what a new connection would show; undefined: none that is whole. */
  constructor(make: () => Session, way: Way, certificate: () => Buffer | undefined) {
    this.#make = make;
    this.#way = way;
    this.#certificate = certificate;
    this.#current = make();
  }

  get authority(): string {
    return this.#current.manager.authority;
  }

  request(...args: Parameters<Http2SessionManager["request"]>): ReturnType<Http2SessionManager["request"]> {
    // The manager would open a connection again, which nobody would close.
    if (this.#closed) return Promise.reject(new ConnectError("the client is closed", Code.Canceled));
    return this.#current.manager.request(...args);
  }

  notifyResponseByteRead(...args: Parameters<Http2SessionManager["notifyResponseByteRead"]>): void {
    this.#current.manager.notifyResponseByteRead(...args);
  }

  abort(): void {
    this.#closed = true;
    this.#current.manager.abort();
  }

  /** Says in words why the broker was not reached, and makes a call once more after a renewal. */
  readonly afterFailure: Interceptor = (next) => async (request) => {
    if (request.stream) {
      // A watch sends one message, and that again on a second stream.
      const asked = await all(request.message);
      return this.#watched(async () => (await next({ ...request, message: each(asked) })) as StreamResponse, request.signal, true);
    }
    const used = this.#used();
    try {
      return await next(request);
    } catch (err) {
      if (!this.#renewed(err, used, request.signal)) throw this.#worded(err, used, request.signal);
    }
    const again = this.#used();
    try {
      return await next(request);
    } catch (err) {
      throw this.#worded(err, again, request.signal);
    }
  };

  /** Opens a stream; unless it is the second, another one if it is refused before its first message. */
  async #watched(open: () => Promise<StreamResponse>, signal: AbortSignal, first: boolean): Promise<StreamResponse> {
    const used = this.#used();
    const second = first ? () => this.#watched(open, signal, false) : undefined;
    try {
      const answer = await open();
      return { ...answer, message: this.#heard(answer.message, used, signal, second && (async () => (await second()).message)) };
    } catch (err) {
      if (!this.#renewed(err, used, signal) || !second) throw this.#worded(err, used, signal);
    }
    return second();
  }

  /** The messages of a stream, which may be refused at its end; if it brings none, those of the one that `second` opens. */
  async *#heard<T>(messages: AsyncIterable<T>, used: Used, signal: AbortSignal, second?: () => Promise<AsyncIterable<T>>): AsyncGenerator<T> {
    let came = false;
    try {
      for await (const message of messages) {
        came = true;
        yield message;
      }
      return;
    } catch (err) {
      // A connection is replaced after a stream that stood, too: for the next one.
      if (!this.#renewed(err, used, signal) || came || !second) throw this.#worded(err, used, signal);
    }
    yield* await second();
  }

  #used(): Used {
    return { session: this.#current, cert: this.#current.shown.cert };
  }

  /** Whether what failed is worth doing once more, on a connection that shows another certificate. */
  #renewed(err: unknown, used: Used, signal: AbortSignal): boolean {
    if (this.#closed || signal.aborted || this.#way.certFile === undefined) return false;
    const { reason } = fromCall(err);
    // Its connection may have been replaced for another call's sake.
    if (reason === "UNREACHABLE") return this.#current !== used.session;
    const showed = used.cert ?? used.session.shown.cert;
    if (reason !== "CALLER_UNAUTHENTICATED" || showed === undefined) return false;
    const cert = this.#certificate();
    if (cert === undefined || cert.equals(showed)) return false;
    if (this.#current === used.session && used.session.shown.cert?.equals(showed)) {
      this.#current = this.#make();
      used.session.manager.abort();
    }
    return true;
  }

  #worded(err: unknown, used: Used, signal: AbortSignal): unknown {
    return this.#closed || signal.aborted ? err : explained(err, used.session.shown.failure, this.#way);
  }
}

async function all<T>(messages: AsyncIterable<T>): Promise<T[]> {
  const whole: T[] = [];
  for await (const message of messages) whole.push(message);
  return whole;
}

// An asynchronous iterable of what is there already.
// eslint-disable-next-line @typescript-eslint/require-await
async function* each<T>(messages: readonly T[]): AsyncGenerator<T> {
  yield* messages;
}
