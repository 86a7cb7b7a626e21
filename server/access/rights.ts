import type { RepositoryName } from '../registry/repository-name.ts';
import { type AccessConfig, isGuarded } from './config.ts';
import { RepositoryPattern } from '../../schemas/oci/repository-pattern.ts';

/** What a caller may do with a repository. Listing, and looking whether something is there, is pulling. */
export type Action = 'pull' | 'push' | 'delete';

/** Who asks, as far as that has been proven. */
export type Caller = { readonly kind: 'anonymous' } | { readonly kind: 'user'; readonly name: string };

export const ANONYMOUS: Caller = { kind: 'anonymous' };

type Users = 'anonymous' | 'authenticated' | ReadonlySet<string>;
interface Rule {
  readonly users: Users;
  readonly allow: ReadonlySet<Action>;
}
interface Area {
  readonly pattern: RepositoryPattern;
  readonly rules: readonly Rule[];
}

const EVERYTHING: ReadonlySet<Action> = new Set(['pull', 'push', 'delete']);
const PULL: ReadonlySet<Action> = new Set(['pull']);

/**
 * Who may do what. The first pattern that fits a repository decides, with all the rules that name the very same
 * pattern: a rule for `team/**` closes `team/` to everyone whom no rule for `team/**` names, whatever a later `**`
 * says. What no rule allows is denied.
 */
export class Rights {
  readonly #areas: readonly Area[];

  constructor(access: AccessConfig) {
    this.#areas = areasOf(rulesOf(access));
  }

  allows(caller: Caller, name: RepositoryName, action: Action): boolean {
    const area = this.#areas.find(({ pattern }) => pattern.matches(name));
    return area?.rules.some(({ users, allow }) => allow.has(action) && includes(users, caller)) === true;
  }

  /** True where there is anything at all that the caller may do. */
  allowsAnything(caller: Caller): boolean {
    return this.#areas.some(({ rules }) =>
      rules.some(({ users, allow }) => allow.size > 0 && includes(users, caller)),
    );
  }
}

type NamedRule = Rule & { readonly repositories: string };

function rulesOf(access: AccessConfig): readonly NamedRule[] {
  if (!isGuarded(access)) return [{ repositories: '**', users: 'anonymous', allow: EVERYTHING }];
  if (access.rules === undefined) {
    return [
      { repositories: '**', users: 'authenticated', allow: EVERYTHING },
      ...(access.anonymousPull ? [{ repositories: '**', users: 'anonymous', allow: PULL } as const] : []),
    ];
  }
  return access.rules.map(({ repositories, users, allow }) => ({
    repositories,
    users: typeof users === 'string' ? users : new Set(users),
    allow: new Set(allow),
  }));
}

/** Rules of the same pattern come together where the first of them stood. */
function areasOf(rules: readonly NamedRule[]): readonly Area[] {
  const byPattern = Map.groupBy(rules, ({ repositories }) => repositories);
  return [...byPattern].map(([text, of]) => ({ pattern: new RepositoryPattern(text), rules: of }));
}

function includes(users: Users, caller: Caller): boolean {
  if (users === 'anonymous') return true;
  if (caller.kind === 'anonymous') return false;
  return users === 'authenticated' || users.has(caller.name);
}
