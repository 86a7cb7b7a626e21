export { formatBytes } from '../format-bytes.ts';

/** Where a command writes, and in which form: the one thing that knows standard output from a test's buffer. */
export interface Terminal {
  readonly json: boolean;
  /** True when a person is looking: lines may be drawn over. */
  readonly interactive: boolean;
  /** How wide it is now: a window may be made narrower at any time. */
  readonly columns: number;
  out(text: string): void;
  err(text: string): void;
}

const DEFAULT_COLUMNS = 80;

export function processTerminal(json: boolean): Terminal {
  return {
    json,
    interactive: process.stderr.isTTY === true && !json,
    get columns() {
      return process.stderr.columns || DEFAULT_COLUMNS; // a serial console has 0
    },
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
  };
}

/** Text that came from elsewhere, without what a terminal would take for a command. */
export function printable(text: string): string {
  return text.replaceAll(/[^\P{Cc}\n\t]/gu, '?');
}

/** `850 ms`, `12.3 s`, `2 min 5 s`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 100_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

/** Rows as columns of equal width, two spaces between them; the first row is the heading. Cells are made printable. */
export function formatTable(table: readonly (readonly string[])[]): string {
  const rows = table.map((row) => row.map((cell) => printable(cell).replaceAll(/\s+/g, ' ')));
  const widths: number[] = [];
  for (const row of rows)
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}
