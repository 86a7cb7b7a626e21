import type { Terminal } from './terminal.ts';

const REDRAW_MS = 100;
const PLAIN_MS = 5000;
const BAR_CELLS = 24;
/** A bar of fewer cells says less than the percentage beside it. */
const MIN_BAR_CELLS = 6;

/** How far something has come, and what there is to say about it in words. */
export interface Progress {
  readonly done: number;
  readonly total: number;
  readonly text: string;
}

/** `[######------------]  25%  text`, in at most `columns` characters: the bar shrinks first, then it goes. */
export function progressText({ done, total, text }: Progress, columns = Number.POSITIVE_INFINITY): string {
  const part = total <= 0 ? 1 : Math.min(1, done / total);
  const words = `${String(Math.floor(part * 100)).padStart(3)}%  ${text}`;
  const cells = Math.min(BAR_CELLS, columns - words.length - '[] '.length);
  if (cells < MIN_BAR_CELLS) return words.trimStart().slice(0, columns);
  const full = Math.round(part * cells);
  return `[${'#'.repeat(full)}${'-'.repeat(cells - full)}] ${words}`;
}

/** A line that is drawn over on a terminal, and printed now and then where nobody looks (a log, a pipe). */
export class ProgressLine {
  readonly #terminal: Terminal;
  readonly #now: () => number;
  #drawnAt = Number.NEGATIVE_INFINITY;
  #open = false;

  constructor(terminal: Terminal, now: () => number = () => performance.now()) {
    this.#terminal = terminal;
    this.#now = now;
  }

  update(progress: Progress): void {
    if (this.#terminal.json) return;
    const now = this.#now();
    if (now - this.#drawnAt < (this.#terminal.interactive ? REDRAW_MS : PLAIN_MS)) return;
    this.#drawnAt = now;
    if (!this.#terminal.interactive) {
      this.#terminal.err(`${progressText(progress)}\n`);
      return;
    }
    // Not in the last column: there some terminals go to the next line by themselves.
    this.#terminal.err(`\r\x1b[K${progressText(progress, this.#terminal.columns - 1)}`);
    this.#open = true;
  }

  /** Takes the line away, so that what is printed next stands on a clean one. */
  clear(): void {
    if (this.#open) this.#terminal.err('\r\x1b[K');
    this.#open = false;
  }
}
