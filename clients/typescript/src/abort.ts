/** What is to run when a signal is aborted, and the one listener that runs it. */
interface Tasks {
  readonly each: Set<() => void>;
  readonly listener: () => void;
}

const waiting = new WeakMap<AbortSignal, Tasks>();

/**
 * Runs the task once when the signal is aborted, unless the returned function is called
 * before. All tasks of a signal share one listener: hundreds of callers may wait with the
 * same signal, and Node takes more than ten listeners for a leak.
 */
export function onAbort(signal: AbortSignal, task: () => void): () => void {
  const tasks = waiting.get(signal) ?? listen(signal);
  const mine = () => { task(); }; // the same task may wait twice
  tasks.each.add(mine);
  return () => {
    tasks.each.delete(mine);
    if (tasks.each.size > 0 || waiting.get(signal) !== tasks) return;
    waiting.delete(signal);
    signal.removeEventListener("abort", tasks.listener);
  };
}

function listen(signal: AbortSignal): Tasks {
  const each = new Set<() => void>();
  const listener = () => {
    waiting.delete(signal);
    for (const task of [...each]) task();
  };
  signal.addEventListener("abort", listener, { once: true });
  const tasks = { each, listener };
  waiting.set(signal, tasks);
  return tasks;
}
