import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import type { GrpcTransportOptions, Http2SessionManager } from "@connectrpc/connect-node";

import { explained, type Way } from "./reach.js";
import { fromCall } from "./status.js";

/** A manager of connections, and what ended the socket of its newest one. */
export interface Session {
  readonly manager: Http2SessionManager;
  failure: Error | undefined;
}

/**
 * The connection that calls use. One that was made with a credential that has ended
 * since is replaced: the broker refuses it, and a new one shows what the files hold.
 */
export class Sessions implements NonNullable<GrpcTransportOptions["sessionManager"]> {
  #current: Session;
  #closed = false;
  readonly #make: () => Session;
  readonly #way: Way;

  constructor(make: () => Session, way: Way) {
    this.#make = make;
    this.#way = way;
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

  /** Says in words why the broker was not reached. After CALLER_UNAUTHENTICATED the next call opens a new connection. */
  readonly afterFailure: Interceptor = (next) => async (request) => {
    const used = this.#current;
    try {
      const answer = await next(request);
      return answer.stream ? { ...answer, message: this.#watched(answer.message, used, request.signal) } : answer;
    } catch (err) {
      throw this.#failed(err, used, request.signal);
    }
  };

  /** The messages of a stream; it may be refused at its end. */
  async *#watched<T>(messages: AsyncIterable<T>, used: Session, signal: AbortSignal): AsyncGenerator<T> {
    try {
      yield* messages;
    } catch (err) {
      throw this.#failed(err, used, signal);
    }
  }

  #failed(err: unknown, used: Session, signal: AbortSignal): unknown {
    if (this.#closed || signal.aborted) return err;
    if (this.#way.certFile !== undefined && this.#current === used && fromCall(err).reason === "CALLER_UNAUTHENTICATED") {
      this.#current = this.#make();
      used.manager.abort();
    }
    return explained(err, used.failure, this.#way);
  }
}
