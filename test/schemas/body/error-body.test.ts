import assert from 'node:assert/strict';
import { firstError } from '../../../schemas/body/error-body.ts';

const rows: readonly (readonly [text: string, expected: object])[] = [
  ['{"errors":[{"code":"DENIED","message":"no"},{"code":"OTHER"}]}', { code: 'DENIED', message: 'no' }],
  ['{"errors":[{"code":"DENIED"}]}', { code: 'DENIED' }],
  ['{"errors":[{"message":"no"}]}', { message: 'no' }],
  ['{"errors":[{"code":1,"message":null}]}', {}],
  ['{"errors":[null]}', {}],
  ['{"errors":[]}', {}],
  ['{"errors":{"0":{"code":"DENIED"}}}', {}],
  ['{"errors":null}', {}],
  ['{}', {}],
  ['[]', {}],
  ['null', {}],
  ['"errors"', {}],
  ['<html>', {}],
  ['', {}],
];

describe('firstError()', () => {
  for (const [text, expected] of rows) {
    it(text, () => assert.deepEqual(firstError(text), expected));
  }
});
