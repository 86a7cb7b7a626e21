/** A file of users that cannot be used. Its message names the line and never shows what stands in it. */
export class HtpasswdError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'HtpasswdError';
  }
}

/** Users by name, each with the bcrypt hash of the password. */
export type Users = ReadonlyMap<string, string>;

const MAX_USERS = 100_000;
/** bcrypt takes 2^cost rounds: 14 is more than a second in JavaScript. */
const MAX_COST = 14;
/** `$2y$`, cost, 22 characters of salt and 31 of hash, in bcrypt's own base64. */
const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/;

/** What other kinds of htpasswd lines look like, and how they are called. */
const OTHER_KINDS: readonly (readonly [RegExp, string])[] = [
  [/^\$apr1\$/, 'MD5'],
  [/^\{SHA\}/, 'SHA-1'],
  [/^\$[156]\$/, 'crypt'],
  [/^[./A-Za-z0-9]{13}$/, 'crypt'],
  [/^\$2/, 'a damaged bcrypt hash'],
];

/**
 * Reads a file in Apache's htpasswd format (`user:hash`, one per line; empty lines and comments are passed over).
 * @throws {HtpasswdError} where any line is no user with a bcrypt hash: a user who silently could not log in, or a
 * password that is cheap to find, helps nobody.
 */
export function parseHtpasswd(text: string): Users {
  const users = new Map<string, string>();
  for (const [row, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const where = `line ${row + 1}`;
    const colon = line.indexOf(':');
    if (colon < 1) throw new HtpasswdError(`${where}: expected user:hash`);
    const name = line.slice(0, colon);
    // Apache ends the hash at a further colon.
    const hash =
      line
        .slice(colon + 1)
        .split(':', 1)[0]
        ?.trim() ?? '';
    const match = BCRYPT.exec(hash);
    if (match === null)
      throw new HtpasswdError(`${where}: ${otherKind(hash)}; set it again with htpasswd -B`);
    const cost = Number(match[1]);
    if (cost < 4 || cost > MAX_COST) {
      throw new HtpasswdError(
        `${where}: a bcrypt cost of ${cost}; 4 to ${MAX_COST} are taken (htpasswd -B -C)`,
      );
    }
    if (users.has(name)) throw new HtpasswdError(`${where}: this user stands in the file twice`);
    if (users.set(name, hash).size > MAX_USERS) throw new HtpasswdError(`more than ${MAX_USERS} users`);
  }
  return users;
}

function otherKind(hash: string): string {
  const kind = OTHER_KINDS.find(([pattern]) => pattern.test(hash))?.[1];
  return kind === undefined ? 'not a bcrypt hash' : `${kind}, where only bcrypt is taken`;
}
