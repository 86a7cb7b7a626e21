/** One line of a table of measurements. */
export interface Row {
  readonly what: string;
  /** Median of all runs but the first. */
  readonly medianMs?: number;
  /** The first run in this process: nothing is compiled or cached yet. */
  readonly firstMs?: number;
  readonly bytes?: number;
}

/**
 * Runs something `runs` times after a first time, and returns its times with the last result. Time is this
 * thread's on the processor, so that what else the machine does is not counted; on an idle machine it is what the
 * clock shows.
 */
export function measure<T>(runs: number, run: () => T): { medianMs: number; firstMs: number; result: T } {
  let started = processorMs();
  let result = run();
  const firstMs = processorMs() - started;
  const times: number[] = [];
  for (let i = 0; i < runs; i += 1) {
    started = processorMs();
    result = run();
    times.push(processorMs() - started);
  }
  times.sort((a, b) => a - b);
  return { medianMs: times[times.length >> 1] ?? firstMs, firstMs, result };
}

function processorMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** A Markdown table; with a reference, how many times faster each row is. */
export function table(rows: readonly Row[]): string {
  const ms = (value: number | undefined) => (value === undefined ? '' : value.toFixed(1));
  const lines = rows.map(
    ({ what, firstMs, medianMs, bytes }) =>
      `| ${what} | ${ms(firstMs)} | ${ms(medianMs)} | ${bytes === undefined ? '' : bytes.toLocaleString('en')} |`,
  );
  return ['| | first, ms | median, ms | bytes |', '|---|--:|--:|--:|', ...lines].join('\n');
}
