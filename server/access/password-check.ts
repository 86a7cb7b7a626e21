import { createHmac, randomBytes } from 'node:crypto';
import { AccessError } from './access-error.ts';
import { FairQueue } from './fair-queue.ts';
import type { Users } from './htpasswd.ts';

/** How long an outcome is remembered. */
const GOOD_TTL_MS = 300_000;
const BAD_TTL_MS = 60_000;
const MAX_GOOD = 10_000;
/** Apart from the good ones: whoever guesses must not push these out. */
const MAX_BAD = 1_000;
/** Checks that wait, for one user and for all. Names that are no user's wait in one line. */
const MAX_WAITING_PER_USER = 8;
const MAX_WAITING = 256;
const RETRY_AFTER_S = 2;
/** A bcrypt hash of nothing that anybody knows, for names that are no user's: they must take as long. */
const NOBODYS_SALT_AND_HASH = 'abcdefghijklmnopqrstuu56FH8qmR9bGA3UyYUE2ShOF1Nw9Uf/u';
/** bcrypt looks at 72 bytes; nobody types this many. */
const MAX_PASSWORD_CHARS = 1_024;

export interface PasswordCheckOptions {
  /** Compares one password with one hash; it is asked one after the other. */
  readonly compare: (question: { password: string; hash: string }) => Promise<boolean>;
  /** Monotonic. */
  readonly nowMs: () => number;
}

/**
 * Whether a password is a user's. Outcomes are remembered under a hash that is keyed by this process and holds the
 * stored hash too, so that a user who is removed or has a new password is not let in by memory. Checks wait in fair
 * turns, user by user: a flood of wrong passwords takes one core at most, and holds up those alone whose names it uses.
 */
export class PasswordCheck {
  readonly #options: PasswordCheckOptions;
  readonly #key = randomBytes(32);
  readonly #good = new Map<string, number>();
  readonly #bad = new Map<string, number>();
  readonly #running = new Map<string, Promise<boolean>>();
  readonly #queue = new FairQueue({ maxWaiting: MAX_WAITING, maxPerLane: MAX_WAITING_PER_USER });

  constructor(options: PasswordCheckOptions) {
    this.#options = options;
  }

  /** @throws {AccessError} 'login-busy' where too many wait already. */
  async check(users: Users, name: string, password: string): Promise<boolean> {
    // A NUL ends a password for bcrypt: what follows would not count.
    if (password.length > MAX_PASSWORD_CHARS || password.includes('\0')) return false;
    const hash = users.get(name);
    const key = this.#keyOf(name, password, hash);
    if (this.#remembers(this.#good, key)) return true;
    if (this.#remembers(this.#bad, key)) return false;
    const running = this.#running.get(key);
    if (running !== undefined) return await running;
    const check = this.#queued(users, name, password, hash);
    this.#running.set(key, check);
    try {
      const good = await check;
      if (good) this.#remember(this.#good, key, GOOD_TTL_MS, MAX_GOOD);
      else this.#remember(this.#bad, key, BAD_TTL_MS, MAX_BAD);
      return good;
    } finally {
      this.#running.delete(key);
    }
  }

  async #queued(users: Users, name: string, password: string, hash: string | undefined): Promise<boolean> {
    const question = { password, hash: hash ?? nobodysHash(users) };
    const lane = hash === undefined ? '' : name;
    const good = this.#queue.run(lane, () => this.#options.compare(question));
    if (good === undefined) throw new AccessError({ kind: 'login-busy', retryAfterS: RETRY_AFTER_S });
    return (await good) && hash !== undefined;
  }

  #keyOf(name: string, password: string, hash: string | undefined): string {
    const text = JSON.stringify([name, password, hash ?? null]);
    return createHmac('sha256', this.#key).update(text).digest('base64');
  }

  #remembers(outcomes: Map<string, number>, key: string): boolean {
    const endsMs = outcomes.get(key);
    if (endsMs === undefined) return false;
    if (endsMs > this.#options.nowMs()) return true;
    outcomes.delete(key);
    return false;
  }

  #remember(outcomes: Map<string, number>, key: string, ttlMs: number, limit: number): void {
    const oldest = outcomes.keys().next().value;
    if (outcomes.size >= limit && oldest !== undefined) outcomes.delete(oldest);
    outcomes.set(key, this.#options.nowMs() + ttlMs);
  }
}

/** As costly as a real user's. */
function nobodysHash(users: Users): string {
  const like = users.values().next().value?.slice(4, 6) ?? '05';
  return `$2y$${like}$${NOBODYS_SALT_AND_HASH}`;
}
