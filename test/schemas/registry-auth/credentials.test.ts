import assert from 'node:assert/strict';
import { basicAuthorization, parseUserPassword } from '../../../schemas/registry-auth/credentials.ts';

const user = { username: 'user', password: 'pass:word' };

describe('parseUserPassword()', () => {
  for (const [text, expected] of [
    ['user:pass:word', user],
    ['user:', { username: 'user', password: '' }],
    ['user', undefined],
    ['', undefined],
  ] as const) {
    it(JSON.stringify(text), () => assert.deepEqual(parseUserPassword(text), expected));
  }
});

describe('basicAuthorization()', () => {
  it('is what RFC 7617 says, in UTF-8', () => {
    assert.equal(basicAuthorization({ username: 'test', password: '123£' }), 'Basic dGVzdDoxMjPCow==');
  });
});
