const CREDIT_LIMIT = 8;
/** Without credit, one time in so many is a trial. */
const TRIAL_INTERVAL = 16;

/**
 * Decides whether to look again for a while before going to sleep. It pays while the asker runs on another
 * CPU and asks on; on a busy machine it only takes the CPU from the asker. So it goes by what it has brought.
 */
export class Spin {
  #credit = CREDIT_LIMIT;
  #skipped = 0;

  worthwhile(): boolean {
    if (this.#credit > 0) return true;
    this.#skipped = (this.#skipped + 1) % TRIAL_INTERVAL;
    return this.#skipped === 0;
  }

  /** A request came while looking. */
  found(): void {
    this.#credit = Math.min(this.#credit + 2, CREDIT_LIMIT);
  }

  /** None came. */
  missed(): void {
    this.#credit = Math.max(this.#credit - 1, 0);
  }
}
