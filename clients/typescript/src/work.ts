import type { Client as Stub } from "@connectrpc/connect";

import { onAbort } from "./abort.js";
import type { Clock } from "./clock.js";
import { ClientClosed } from "./errors.js";
import type { TokenService } from "./gen/holdfast/v1/token_service_pb.js";

/** The calls that a client makes; a fake implements them without a network. */
export type Broker = Pick<Stub<typeof TokenService>, "getAccessToken" | "reportRejectedToken" | "watchAccessToken">;

/**
 * What all sources of a client share: its broker, its clock, and the work that goes
 * on in the background until `close`.
 */
export class Work {
  #closed = false;
  readonly #ends = new Set<AbortController>();
  readonly #tasks = new Set<Promise<unknown>>();

  constructor(
    readonly broker: Broker,
    readonly clock: Clock,
    /** Bounds one call to the broker, in milliseconds. */
    readonly timeoutMs: number,
    /** From 0 to below 1, for jitter. */
    readonly random: () => number,
  ) {}

  /** True once `close` was called. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * A signal of its own for one piece of work, aborted by `close`, by the other signal
   * and by `release`, which must be called at the end. One signal for all would collect
   * their listeners.
   */
  bounded(also?: AbortSignal): { signal: AbortSignal; release: () => void } {
    const end = new AbortController();
    let forget: (() => void) | undefined;
    if (this.#closed) end.abort(new ClientClosed());
    else if (also?.aborted) end.abort(also.reason);
    else {
      this.#ends.add(end);
      forget = also && onAbort(also, () => { end.abort(also.reason); });
    }
    const release = () => {
      this.#ends.delete(end);
      forget?.();
      end.abort();
    };
    return { signal: end.signal, release };
  }

  /**
   * Runs a task that `close` ends, by its signal, and waits for. It has no tie to any
   * caller: work that several wait for must not end with the first of them.
   */
  run<T>(task: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new ClientClosed());
    const { signal, release } = this.bounded();
    const running = task(signal).catch((err: unknown) => {
      throw this.#closed ? new ClientClosed() : err;
    }).finally(release);
    const settled = running.then(() => undefined, () => undefined);
    this.#tasks.add(settled);
    void settled.then(() => this.#tasks.delete(settled));
    return running;
  }

  /** Ends all tasks and waits until none is left. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const end of this.#ends) end.abort(new ClientClosed());
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
  }

  /** Lengthens a delay by up to half, so that many clients do not come back as one; never shorter: the broker names the least time. */
  jittered(ms: number): number {
    return ms * (1 + this.random() / 2);
  }
}
