import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { ChainId } from '../../../schemas/oci/chain-id.ts';
import { digestOf } from '../../../schemas/oci/digest.ts';
import { Metadata, type NewSnapshot } from '../../../worker/snapshotter/metadata.ts';
import { keyOf } from '../../support/snapshotter-home.ts';

const CHAIN = digestOf('layer') as ChainId; // any digest will do

function active(key: string, parent?: string): NewSnapshot {
  const named = parent === undefined ? undefined : keyOf(parent);
  return { kind: 'active', key: keyOf(key), parent: named, labels: {}, form: undefined, nowNs: 1n };
}

describe('Metadata', () => {
  let directory: string;
  let path: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'sl-meta-'));
    path = join(directory, 'metadata.db');
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  function withMetadata<T>(use: (metadata: Metadata) => T): T {
    const metadata = new Metadata(path);
    try {
      return use(metadata);
    } finally {
      metadata.close();
    }
  }

  function commit(metadata: Metadata, key: string, name: string): void {
    const usage = { sizeBytes: 2 ** 40, inodes: 3 };
    const change = { key: keyOf(key), name: keyOf(name), labels: {}, parent: undefined, usage, nowNs: 2n };
    metadata.commit(change);
  }

  it('inserts nothing when the directory cannot be placed, and goes on', () => {
    withMetadata((metadata) => {
      const place = (): never => {
        throw new Error('no space');
      };
      assert.throws(() => metadata.insert(active('a'), place), /no space/);
      assert.equal(metadata.find(keyOf('a')), undefined);
      assert.equal(metadata.insert(active('a')).key, 'a');
    });
  });

  it('keeps large usages, times and labels of any text', () => {
    const labels = { 'a "b" \\ \u{1f600}': 'x\ny', toString: 'z' };
    withMetadata((metadata) => {
      metadata.insert({ ...active('a'), labels, nowNs: 1_795_257_642_662_920_898n });
      metadata.insert(active('b'));
      commit(metadata, 'b', 'c');
    });
    withMetadata((metadata) => {
      const info = metadata.get(keyOf('a'));
      assert.deepEqual(info.labels, labels);
      assert.equal(info.createdNs, 1_795_257_642_662_920_898n);
      assert.deepEqual(metadata.usage(keyOf('c')), { sizeBytes: 2 ** 40, inodes: 3 });
    });
  });

  it('ends the trees of a snapshot at the nearest remote one', () => {
    withMetadata((metadata) => {
      metadata.insert(active('a'));
      commit(metadata, 'a', 'lowest');
      const remote = { labels: {}, nowNs: 1n, kind: 'remote', chainId: CHAIN } as const;
      metadata.insert({ ...remote, key: keyOf('remote'), parent: keyOf('lowest') });
      const { id } = metadata.insert(active('b', 'remote'));
      commit(metadata, 'b', 'above');
      const lowest = metadata.get(keyOf('lowest')).id;
      const plain = { hasMetacopy: false };
      assert.deepEqual(metadata.ancestry(keyOf('above')), { localIds: [id], remote: CHAIN, ...plain });
      assert.deepEqual(metadata.ancestry(keyOf('remote')), { localIds: [], remote: CHAIN, ...plain });
      assert.deepEqual(metadata.ancestry(keyOf('lowest')), {
        localIds: [lowest],
        remote: undefined,
        ...plain,
      });
    });
  });

  it('takes over what was made before snapshots had a form', () => {
    withMetadata((metadata) => metadata.insert(active('old')));
    const db = new DatabaseSync(path);
    db.exec('ALTER TABLE snapshots DROP COLUMN form; PRAGMA user_version = 1');
    db.close();
    withMetadata((metadata) => {
      assert.equal(metadata.get(keyOf('old')).form, undefined);
      metadata.insert({ ...active('new'), kind: 'active', form: 'complete' });
    });
    withMetadata((metadata) => assert.equal(metadata.get(keyOf('new')).form, 'complete'));
  });

  it('knows of metadata without contents in what lies below, however deep', () => {
    withMetadata((metadata) => {
      metadata.insert({ ...active('a'), kind: 'active', form: 'complete-metacopy' });
      commit(metadata, 'a', 'written');
      metadata.insert({ ...active('b', 'written'), kind: 'active', form: 'served' });
      commit(metadata, 'b', 'above');
      assert.equal(metadata.ancestry(keyOf('written')).hasMetacopy, true);
      assert.equal(metadata.ancestry(keyOf('above')).hasMetacopy, true);
    });
  });

  const BROKEN: readonly (readonly [title: string, make: () => void, message: RegExp])[] = [
    [
      'of a later version',
      () => {
        withMetadata(() => {});
        const db = new DatabaseSync(path);
        db.exec('PRAGMA user_version = 99');
        db.close();
      },
      /version 99/,
    ],
    ['that is no database', () => writeFileSync(path, 'x'.repeat(8192)), /not a database/],
    [
      'of another program',
      () => {
        const db = new DatabaseSync(path);
        db.exec('CREATE TABLE snapshots (name TEXT)');
        db.close();
      },
      /already exists/,
    ],
  ];
  for (const [title, make, message] of BROKEN) {
    it(`refuses a file ${title}, and lets it go`, () => {
      make();
      assert.throws(() => new Metadata(path), message);
      new DatabaseSync(path).close();
    });
  }

  it('is of one process at a time', () => {
    withMetadata(() => assert.throws(() => new Metadata(path), /in use by another process/));
    withMetadata(() => {});
  });
});
