import { parseUserPassword } from '../../schemas/registry-auth/credentials.ts';
import type { RepositoryName } from '../registry/repository-name.ts';
import { AccessError } from './access-error.ts';
import type { Users } from './htpasswd.ts';
import type { PasswordCheck } from './password-check.ts';
import { type Action, ANONYMOUS, type Caller, type Rights } from './rights.ts';

export interface GateOptions {
  /** As they are now; undefined where nobody can log in. */
  readonly users: (() => Users) | undefined;
  readonly passwords: PasswordCheck;
  readonly rights: Rights;
  readonly realm: string;
  readonly askFirst: boolean;
}

/** Decides who a caller is and what that caller may do, by name alone: what exists plays no part in it. */
export class Gate {
  readonly #options: GateOptions;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /**
   * Who sends this `Authorization` header. Wrong credentials are refused even where none are needed: a client that
   * believes to be somebody must not be taken for nobody.
   * @throws {AccessError} 'unauthorized', 'login-busy'
   */
  async caller(authorization: string | undefined): Promise<Caller> {
    const { users, passwords } = this.#options;
    if (users === undefined || authorization === undefined) return ANONYMOUS;
    const encoded = /^basic +([A-Za-z0-9+/_-]{1,8192}={0,2})$/i.exec(authorization.trim())?.[1];
    const told =
      encoded === undefined ? undefined : parseUserPassword(Buffer.from(encoded, 'base64').toString());
    if (told === undefined) throw this.#unauthorized();
    if (!(await passwords.check(users(), told.username, told.password))) throw this.#unauthorized();
    return { kind: 'user', name: told.username };
  }

  allows(caller: Caller, name: RepositoryName, action: Action): boolean {
    return this.#options.rights.allows(caller, name, action);
  }

  /** @throws {AccessError} */
  require(caller: Caller, name: RepositoryName, action: Action): void {
    if (!this.allows(caller, name, action)) throw this.#refusal(caller);
  }

  /** That the caller may ask anything at all. @throws {AccessError} */
  requireEntry(caller: Caller): void {
    const { rights, askFirst } = this.#options;
    const asked = askFirst && caller.kind === 'anonymous';
    if (asked || !rights.allowsAnything(caller)) throw this.#refusal(caller);
  }

  #refusal(caller: Caller): AccessError {
    const login = caller.kind === 'anonymous' && this.#options.users !== undefined;
    return login ? this.#unauthorized() : new AccessError({ kind: 'denied' });
  }

  #unauthorized(): AccessError {
    const challenge = `Basic realm="${this.#options.realm}", charset="UTF-8"`;
    return new AccessError({ kind: 'unauthorized', challenge });
  }
}
