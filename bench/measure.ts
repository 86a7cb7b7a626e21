/** One line of a table of measurements. */
export interface Row {
  readonly what: string;
  /** Median of all runs but the first. */
  readonly medianMs?: number;
  /** The first run in this process: nothing is compiled or cached yet. */
  readonly firstMs?: number;
  /** Median of all runs but the first, by the clock. */
  readonly clockMs?: number;
  readonly bytes?: number;
}

export interface Measured<T> {
  readonly medianMs: number;
  readonly firstMs: number;
  readonly clockMs: number;
  readonly result: T;
}

/**
 * Runs something `runs` times after a first time, and returns its times with the last result: what all threads
 * of this process spent on the processor, so that what else the machine does is not counted, and beside it what
 * the clock shows, which is more on a machine that is busy and less where threads work side by side.
 */
export async function measure<T>(runs: number, run: () => T | Promise<T>): Promise<Measured<T>> {
  const first = await once(run);
  const processor: number[] = [];
  const clock: number[] = [];
  let { result } = first;
  for (let i = 0; i < runs; i += 1) {
    const next = await once(run);
    processor.push(next.processorMs);
    clock.push(next.clockMs);
    result = next.result;
  }
  return {
    medianMs: median(processor) ?? first.processorMs,
    firstMs: first.processorMs,
    clockMs: median(clock) ?? first.clockMs,
    result,
  };
}

async function once<T>(
  run: () => T | Promise<T>,
): Promise<{ processorMs: number; clockMs: number; result: T }> {
  const began = process.cpuUsage();
  const beganMs = performance.now();
  const result = await run();
  const clockMs = performance.now() - beganMs;
  const { user, system } = process.cpuUsage(began);
  return { processorMs: (user + system) / 1000, clockMs, result };
}

function median(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

/** A Markdown table. */
export function table(rows: readonly Row[]): string {
  const ms = (value: number | undefined) => (value === undefined ? '' : value.toFixed(1));
  const lines = rows.map(
    ({ what, firstMs, medianMs, clockMs, bytes }) =>
      `| ${what} | ${ms(firstMs)} | ${ms(medianMs)} | ${ms(clockMs)} | ${bytes === undefined ? '' : bytes.toLocaleString('en')} |`,
  );
  return ['| | first, ms | median, ms | by the clock, ms | bytes |', '|---|--:|--:|--:|--:|', ...lines].join(
    '\n',
  );
}
