import type { Terminal } from './terminal.ts';

const REDRAW_MS = 100;
const PLAIN_MS = 5000;
const BAR_CELLS = 24;

/** `[######------------]  25%`. */
export function progressBar(done: number, total: number, cells = BAR_CELLS): string {
  const part = total <= 0 ? 1 : Math.min(1, done / total);
  const full = Math.round(part * cells);
  return `[${'#'.repeat(full)}${'-'.repeat(cells - full)}] ${String(Math.floor(part * 100)).padStart(3)}%`;
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

  update(text: string): void {
    if (this.#terminal.json) return;
    const now = this.#now();
    if (now - this.#drawnAt < (this.#terminal.interactive ? REDRAW_MS : PLAIN_MS)) return;
    this.#drawnAt = now;
    if (!this.#terminal.interactive) {
      this.#terminal.err(`${text}\n`);
      return;
    }
    this.#terminal.err(`\r\x1b[K${text.slice(0, Math.max(10, this.#terminal.columns - 1))}`);
    this.#open = true;
  }

  /** Takes the line away, so that what is printed next stands on a clean one. */
  clear(): void {
    if (this.#open) this.#terminal.err('\r\x1b[K');
    this.#open = false;
  }
}
