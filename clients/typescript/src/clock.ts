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
  /**
   * @internal monotonic(), or what it was when wall() last had this value: a cached call
   * reads one clock then, not two.
   */
  readonly monotonicAt?: ((wall: number) => number) | undefined;
}

/** How often a reading of the monotonic clock is used: a wall clock that stands still stops nothing for long. */
const mostUses = 1000;

/**
 * @internal Makes a monotonicAt of a monotonic clock, whose reading is used again while
 * the wall clock shows the same millisecond: it is no older than that, as if the caller had
 * asked so much earlier. A wall clock that is set back to the very millisecond of the
 * reading makes it older, for that millisecond and mostUses calls at the most.
 */
export function oncePerTick(monotonic: () => number): (wall: number) => number {
  let readAt = NaN, reading = 0, uses = 0;
  return (wall) => {
    if (wall !== readAt || ++uses >= mostUses) {
      reading = monotonic();
      readAt = wall;
      uses = 0;
    }
    return reading;
  };
}

/** The longest that a timer can wait: Node runs a longer one at once. */
export const longestMs = 2 ** 31 - 1;

/** The clocks and timers of this process. */
export const systemClock: Clock = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  monotonicAt: oncePerTick(() => performance.now()),
  after(ms, task, background) {
    const timer = setTimeout(task, Math.min(Math.max(0, ms), longestMs));
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
