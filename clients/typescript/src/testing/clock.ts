import type { Clock } from "../clock.js";

interface Timer {
  readonly at: number;
  readonly task: () => void;
}

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  #now = 0;
  #skew = 0;
  readonly #timers = new Set<Timer>();

  /** Milliseconds passed since the clock was made. */
  monotonic(): number {
    return this.#now;
  }

  /** Milliseconds since 1970, from an arbitrary day on. */
  wall(): number {
    return Date.UTC(2026, 0, 1) + this.#now + this.#skew;
  }

  /** See Clock. */
  after(ms: number, task: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, ms), task };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Sets the wall clock alone, `ms` ahead of where it is. */
  setWall(ms: number): void {
    this.#skew += ms;
  }

  /** How many timers wait. */
  get pending(): number {
    return this.#timers.size;
  }

  /**
   * Lets `ms` pass: timers run in their order, and what each sets off is done, as far as
   * it waits for promises alone, before the next.
   */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settled();
    for (;;) {
      const next = [...this.#timers].filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.task();
      await settled();
    }
    this.#now = end;
    await settled();
  }
}

/** Until all that waits for promises alone is done. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
