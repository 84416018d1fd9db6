/**
 * The times a client lives by. Tests replace it; see `@holdfast-io/client/testing`.
 */
export interface Clock {
  /** Milliseconds of a clock that is never set, from any fixed point on. */
  monotonic(): number;
  /** Milliseconds of the wall clock. It is only ever used to make a token older. */
  wall(): number;
  /**
   * Runs the task once, `ms` from now, unless the returned function is called before.
   * A `background` timer does not keep the process alive.
   */
  after(ms: number, task: () => void, background: boolean): () => void;
}

/** The clocks and timers of this process. */
export const systemClock: Clock = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  after(ms, task, background) {
    const timer = setTimeout(task, Math.max(0, ms));
    if (background) timer.unref();
    return () => {
      clearTimeout(timer);
    };
  },
};

/** Resolves with true after `ms`, or with false as soon as the signal is aborted. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal, background: boolean): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const end = (slept: boolean) => {
      signal.removeEventListener("abort", aborted);
      resolve(slept);
    };
    const cancel = clock.after(ms, () => { end(true); }, background);
    const aborted = () => {
      cancel();
      end(false);
    };
    signal.addEventListener("abort", aborted, { once: true });
  });
}
