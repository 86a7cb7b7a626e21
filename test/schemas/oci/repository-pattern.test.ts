import assert from 'node:assert/strict';
import { REPOSITORY_PATTERN, repositoryMatches } from '../../../schemas/oci/repository-pattern.ts';

const CASES: readonly (readonly [pattern: string, name: string, fits: boolean])[] = [
  ['**', 'app', true],
  ['**', 'team/sub/app', true],
  ['team/**', 'team/app', true],
  ['team/**', 'team/sub/app', true],
  ['team/**', 'team', false],
  ['team/**', 'teams/app', false],
  ['team/*', 'team/app', true],
  ['team/*', 'team/sub/app', false],
  ['*', 'app', true],
  ['*', 'team/app', false],
  ['team/app', 'team/app', true],
  ['team/app', 'team/app2', false],
  ['team/*-test', 'team/web-test', true],
  ['team/*-test', 'team/-test', true],
  ['team/*-test', 'team/test', false],
  ['a*a', 'a', false],
];
const PATTERNS: readonly (readonly [text: string, good: boolean])[] = [
  ['**', true],
  ['*', true],
  ['team/**', true],
  ['team/*-x/**', true],
  ['', false],
  ['/team', false],
  ['team/', false],
  ['**/app', false],
  ['team/**/app', false],
  ['a*b*c', false],
  ['Team', false],
];

describe('repositoryMatches()', () => {
  for (const [pattern, name, fits] of CASES) {
    it(`${pattern} ${fits ? 'fits' : 'does not fit'} ${name}`, () => {
      assert.equal(repositoryMatches(pattern, name), fits);
    });
  }
});

describe('REPOSITORY_PATTERN', () => {
  for (const [text, good] of PATTERNS) {
    it(`${good ? 'takes' : 'refuses'} ${JSON.stringify(text)}`, () => {
      assert.equal(new RegExp(REPOSITORY_PATTERN).test(text), good);
    });
  }
});
