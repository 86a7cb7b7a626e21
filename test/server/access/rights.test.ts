import assert from 'node:assert/strict';
import { type AccessConfig, checkAccess, type RuleConfig } from '../../../server/access/config.ts';
import { patternFault, RepositoryPattern } from '../../../schemas/oci/repository-pattern.ts';
import { type Action, ANONYMOUS, type Caller, Rights } from '../../../server/access/rights.ts';
import { type RepositoryName, repositoryName } from '../../../server/registry/repository-name.ts';

const NONE: AccessConfig = { anonymousPull: false, realm: 'x', askFirst: false };
const WITH_USERS: AccessConfig = { ...NONE, htpasswdFile: '/users' };
const user = (name: string): Caller => ({ kind: 'user', name });

function named(text: string): RepositoryName {
  const name = repositoryName(text);
  assert.ok(name !== undefined, text);
  return name;
}

describe('RepositoryPattern', () => {
  const CASES: readonly (readonly [pattern: string, name: string, matches: boolean])[] = [
    ['team/app', 'team/app', true],
    ['team/app', 'team/app2', false],
    ['team/app', 'team', false],
    ['team/*', 'team/app', true],
    ['team/*', 'team/app/part', false],
    ['team/**', 'team/app/part', true],
    ['team/**', 'team', false],
    ['team/**', 'teams/app', false],
    ['**', 'a', true],
    ['**', 'a/b/c', true],
    ['*', 'a/b', false],
    ['*/b', 'a/b', true],
    ['a-*-c/d', 'a-b-c/d', true],
    ['a-*-c/d', 'a-c/d', false],
    ['ab*ba', 'aba', false],
    ['*', 'a', true],
  ];
  for (const [pattern, name, matches] of CASES) {
    it(`${pattern} ${matches ? 'fits' : 'does not fit'} ${name}`, () => {
      assert.equal(new RepositoryPattern(pattern).matches(named(name)), matches);
    });
  }

  for (const bad of ['', '/', 'a/', '/a', 'a//b', '**/b', 'a/**/b', 'a**', 'a*b*', 'A/b', '../b ', 'a b']) {
    it(`refuses ${JSON.stringify(bad)}`, () => {
      assert.notEqual(patternFault(bad), undefined);
      assert.throws(() => new RepositoryPattern(bad), RangeError);
    });
  }
});

describe('Rights', () => {
  const RULES: readonly RuleConfig[] = [
    { repositories: 'team/**', users: ['ann'], allow: ['pull', 'push'] },
    { repositories: 'team/**', users: ['bob'], allow: ['pull'] },
    { repositories: 'open/*', users: 'anonymous', allow: ['pull'] },
    { repositories: 'open/*', users: 'authenticated', allow: ['push'] },
    { repositories: 'closed/**', users: 'anonymous', allow: [] },
    { repositories: '**', users: 'authenticated', allow: ['pull'] },
    { repositories: 'team/**', users: ['root'], allow: ['delete'] },
  ];
  const RULED = { ...WITH_USERS, rules: [...RULES] };
  const OPEN = { ...WITH_USERS, anonymousPull: true };
  const CASES: readonly (readonly [what: string, AccessConfig, Caller, string, readonly Action[]])[] = [
    ['anybody does everything where nothing is configured', NONE, ANONYMOUS, 'a', ['pull', 'push', 'delete']],
    ['users do everything where there are no rules', WITH_USERS, user('u'), 'a', ['pull', 'push', 'delete']],
    ['without a login nothing is done then', WITH_USERS, ANONYMOUS, 'a', []],
    ['without a login one may pull where that is set', OPEN, ANONYMOUS, 'a', ['pull']],
    ['a user is allowed what a rule says', RULED, user('ann'), 'team/app', ['pull', 'push']],
    ['rules of one pattern count together', RULED, user('bob'), 'team/app', ['pull']],
    ['and wherever they stand', RULED, user('root'), 'team/app', ['delete']],
    ['a later pattern does not open what an earlier one closes', RULED, user('eve'), 'team/app', []],
    ['what a rule names is not what lies above it', RULED, user('eve'), 'team', ['pull']],
    ['anonymous means everybody', RULED, user('eve'), 'open/a', ['pull', 'push']],
    ['also those without a login', RULED, ANONYMOUS, 'open/a', ['pull']],
    ['authenticated does not', RULED, ANONYMOUS, 'other', []],
    ['a rule that allows nothing closes', RULED, user('ann'), 'closed/a', []],
    ['what no rule fits is denied', { ...RULED, rules: RULES.slice(0, 1) }, user('ann'), 'other', []],
    ['no rules at all deny everything', { ...RULED, rules: [] }, user('ann'), 'a', []],
  ];
  for (const [what, access, caller, name, allowed] of CASES) {
    it(what, () => {
      const rights = new Rights(access);
      const actions = (['pull', 'push', 'delete'] as const).filter((action) =>
        rights.allows(caller, named(name), action),
      );
      assert.deepEqual(actions, allowed);
    });
  }

  it('knows who may do anything at all', () => {
    assert.equal(new Rights(RULED).allowsAnything(ANONYMOUS), true);
    assert.equal(new Rights(WITH_USERS).allowsAnything(ANONYMOUS), false);
    assert.equal(new Rights({ ...RULED, rules: RULES.slice(0, 1) }).allowsAnything(user('eve')), false);
  });
});

describe('checkAccess()', () => {
  const rule = (repositories: string, users: RuleConfig['users']): RuleConfig => {
    return { repositories, users, allow: ['pull'] };
  };
  const BAD: readonly (readonly [what: string, access: AccessConfig, fault: RegExp])[] = [
    ['a pattern that is none', { ...WITH_USERS, rules: [rule('a/**/b', 'anonymous')] }, /rules\[0\]\.repos/],
    ['users without a file of them', { ...NONE, rules: [rule('**', ['ann'])] }, /rules\[0\]\.users/],
    ['logins without users', { ...NONE, rules: [rule('**', 'authenticated')] }, /rules\[0\]\.users/],
    ['anonymousPull beside rules', { ...WITH_USERS, anonymousPull: true, rules: [] }, /anonymousPull/],
    ['anonymousPull without users', { ...NONE, anonymousPull: true }, /anonymousPull/],
    ['askFirst without users', { ...NONE, askFirst: true }, /askFirst/],
  ];
  for (const [what, access, fault] of BAD) {
    it(`refuses ${what}`, () => assert.match(checkAccess(access).join('\n'), fault));
  }
  it('takes what is good', () => {
    for (const access of [NONE, WITH_USERS, { ...WITH_USERS, askFirst: true, anonymousPull: true }]) {
      assert.deepEqual(checkAccess(access), []);
    }
    assert.deepEqual(checkAccess({ ...WITH_USERS, rules: [rule('team/**', ['ann'])] }), []);
  });
});
