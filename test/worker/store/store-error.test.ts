import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { asStoreError, isNoSpace, isStoreFault } from '../../../worker/store/store-error.ts';

const withCode = (code: string) => Object.assign(new Error(code), { code });

/** What SQLite throws when its file may not grow. */
function fullDatabase(): unknown {
  using db = new DatabaseSync(':memory:');
  db.exec('PRAGMA max_page_count = 2; CREATE TABLE t (x)');
  try {
    db.exec('INSERT INTO t VALUES (zeroblob(100000))');
  } catch (error) {
    return error;
  }
  throw new Error('the database has room after all');
}

function brokenStatement(): unknown {
  using db = new DatabaseSync(':memory:');
  try {
    db.exec('INSERT INTO nowhere VALUES (1)');
  } catch (error) {
    return error;
  }
  throw new Error('the statement is none');
}

describe('isNoSpace()', () => {
  const rows: readonly (readonly [string, unknown, boolean])[] = [
    ['ENOSPC', withCode('ENOSPC'), true],
    ['EDQUOT', withCode('EDQUOT'), true],
    ['a database that may not grow', fullDatabase(), true],
    ['another fault of the database', brokenStatement(), false],
    ['EIO', withCode('EIO'), false],
    ['an error without code', new Error('ENOSPC'), false],
    ['no error', { code: 'ENOSPC' }, false],
    ['nothing', undefined, false],
  ];
  for (const [what, error, wanted] of rows) {
    it(`is ${wanted} of ${what}`, () => assert.equal(isNoSpace(error), wanted));
  }

  it('makes a StoreError with its cause of those, and leaves the others alone', () => {
    for (const [, error, wanted] of rows) {
      const told = asStoreError(error, '/store');
      if (!wanted) assert.equal(told, error);
      else {
        assert.ok(isStoreFault(told, 'no-space'));
        assert.equal(told.cause, error);
        assert.match(told.message, /the disk is full that holds \/store/);
      }
    }
  });
});
