import assert from 'node:assert/strict';
import { presentsSecret } from '../../../../extensions/starlight/events/shared-secret.ts';

const SECRET = 'a secret: of some length';
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

const CASES: readonly (readonly [authorization: string | undefined, good: boolean])[] = [
  [SECRET, true],
  [`Bearer ${SECRET}`, true],
  [`bearer ${SECRET}`, true],
  [basic(`anybody:${SECRET}`), true],
  [basic(`:${SECRET}`), true],
  [undefined, false],
  ['', false],
  ['Bearer ', false],
  [SECRET.slice(1), false],
  [`${SECRET} `, false],
  [`Bearer ${SECRET}x`, false],
  [`Token ${SECRET}`, false],
  [basic(SECRET.replace(':', '')), false],
  [basic(`${SECRET}:`), false],
  [basic(''), false],
  ['Basic !', false],
];

describe('presentsSecret()', () => {
  for (const [authorization, good] of CASES) {
    it(`${good ? 'takes' : 'refuses'} ${JSON.stringify(authorization)}`, () => {
      assert.equal(presentsSecret(authorization, SECRET), good);
    });
  }
});
