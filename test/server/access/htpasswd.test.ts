import assert from 'node:assert/strict';
import { HtpasswdError, parseHtpasswd } from '../../../server/access/htpasswd.ts';
import { OPEN_SESAME } from '../../support/open-sesame.ts';

describe('parseHtpasswd()', () => {
  it('reads users, past comments and empty lines, with either end of line', () => {
    const users = parseHtpasswd(`# users\r\n\r\nann:${OPEN_SESAME}\r\nbob b:${OPEN_SESAME}:rest\n`);
    assert.deepEqual(
      [...users],
      [
        ['ann', OPEN_SESAME],
        ['bob b', OPEN_SESAME],
      ],
    );
  });

  it('takes a file without users', () => assert.equal(parseHtpasswd('').size, 0));

  const BAD: readonly (readonly [what: string, text: string, message: RegExp])[] = [
    ['MD5', 'ann:$apr1$8sbHM0Ec$o1jFkN8nWJTBXFqXGd9Yc1', /line 1: MD5, where only bcrypt/],
    ['SHA-1', `ann:${OPEN_SESAME}\nbob:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=`, /line 2: SHA-1, where/],
    ['SHA-512 of crypt', `ann:$6$${'a'.repeat(8)}$${'b'.repeat(86)}`, /crypt, where only bcrypt/],
    ['DES of crypt', 'ann:rqXexS6ZhobKA', /crypt, where only bcrypt/],
    ['a password in the clear', 'ann:hunter2', /line 1: not a bcrypt hash; set it again with htpasswd -B$/],
    ['a bcrypt hash cut short', `ann:${OPEN_SESAME.slice(0, -1)}`, /a damaged bcrypt hash/],
    ['a bcrypt kind that is broken', `ann:${OPEN_SESAME.replace('2y', '2x')}`, /a damaged bcrypt hash/],
    ['a cost that nobody can pay', `ann:${OPEN_SESAME.replace('$05', '$31')}`, /cost of 31; 4 to 14/],
    ['a cost below the least', `ann:${OPEN_SESAME.replace('$05', '$03')}`, /cost of 3;/],
    ['a line without a colon', 'ann', /line 1: expected user:hash/],
    ['a user without a name', `:${OPEN_SESAME}`, /line 1: expected user:hash/],
    ['a user twice', `ann:${OPEN_SESAME}\nann:${OPEN_SESAME}`, /line 2: this user stands in the file twice/],
  ];
  for (const [what, text, message] of BAD) {
    it(`refuses ${what}, and does not show it`, () => {
      assert.throws(
        () => parseHtpasswd(text),
        (error: unknown) => {
          assert.ok(error instanceof HtpasswdError);
          assert.match(error.message, message);
          assert.ok(!error.message.includes('hunter2') && !error.message.includes('ann'));
          return true;
        },
      );
    });
  }
});
