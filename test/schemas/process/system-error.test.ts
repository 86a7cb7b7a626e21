import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { errorCode, isMissing } from '../../../schemas/process/system-error.ts';

const missing = await readFile('/nonexistent').catch((error: unknown) => error);
const inTheWay = await readdir(import.meta.filename).catch((error: unknown) => error);

const rows: readonly (readonly [string, unknown, string | undefined])[] = [
  ['a missing file', missing, 'ENOENT'],
  ['another fault of the system', inTheWay, 'ENOTDIR'],
  ['an error', new Error('ENOENT'), undefined],
  ['an error whose code is a number', Object.assign(new Error('x'), { code: 2 }), undefined],
  ['what is no error', { code: 'ENOENT' }, undefined],
  ['a string', 'ENOENT', undefined],
  ['nothing', undefined, undefined],
];

describe('errorCode()', () => {
  for (const [name, error, code] of rows) it(name, () => assert.equal(errorCode(error), code));
});

describe('isMissing()', () => {
  for (const [name, error, code] of rows) it(name, () => assert.equal(isMissing(error), code === 'ENOENT'));
});
