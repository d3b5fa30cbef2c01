/** Waiting for a software adapter without taking a core from it. */

/** Short work is done before it is worth a sleep. */
const awakeMilliseconds = 0.5;
/** How long the thread sleeps at a time. */
const sleepMilliseconds = 1;

const cell = new Int32Array(new SharedArrayBuffer(4));
let pending = 0;
let looping = false;
let since = 0;

/**
 * Dawn in Node has the event loop turn without a pause while anything is pending, which keeps a core busy; an adapter that computes on the
 * same cores then takes half as long again (measured on two). This lets the loop turn once a millisecond instead, until the work is done.
 * Other callbacks of the process wait that long at most.
 */
export function wait<T>(work: Promise<T>): Promise<T> {
  const done = (): void => {
    pending--;
  };
  work.then(done, done);
  pending++;
  since = performance.now();
  // One loop sleeps for all that is pending.
  if (!looping) setImmediate(turn);
  looping = true;
  return work;
}

function turn(): void {
  looping = pending > 0;
  if (!looping) return;
  if (performance.now() - since > awakeMilliseconds) Atomics.wait(cell, 0, 0, sleepMilliseconds);
  setImmediate(turn);
}
