import { onAbort } from "./abort.js";
import type { Clock } from "./clock.js";
import type { Held } from "./token.js";

/** The provider accepts the reported token; its 401 had another cause. */
export class TokenAccepted extends Error {}

/** One call to the broker that any number of callers wait for. */
export class Flight {
  constructor(
    /** Rejected generation that it reports first; 0: none. */
    readonly rejected: number,
    readonly outcome: Promise<Held>,
  ) {
    outcome.catch(() => undefined); // whether anybody waits or not
  }

  /**
   * Waits for the outcome, no longer than until the signal is aborted, which throws
   * its reason, and than `patienceMs`, after which the answer is undefined.
   */
  wait(clock: Clock, signal?: AbortSignal, patienceMs?: number): Promise<Held | undefined> {
    if (!signal && patienceMs === undefined) return this.outcome;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason as Error);
        return;
      }
      const cancel = patienceMs === undefined ? undefined : clock.after(patienceMs, () => { end(); resolve(undefined); }, false);
      const forget = signal && onAbort(signal, () => {
        end();
        reject(signal.reason as Error);
      });
      const end = () => {
        cancel?.();
        forget?.();
      };
      void this.outcome.finally(end).then(resolve, reject);
    });
  }
}
