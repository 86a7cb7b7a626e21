import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeDurably } from '../../../schemas/disk/durable-file.ts';

describe('writeDurably()', () => {
  let root = '';
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'starlight-durable-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));
  const everything = () => readdirSync(root, { recursive: true, encoding: 'utf8' }).sort();

  it('writes the pieces one after the other, and makes the directories', async () => {
    const path = join(root, 'a/b/file');
    await writeDurably(path, [Buffer.from('one '), Buffer.alloc(0), Buffer.from('two')]);
    assert.equal(readFileSync(path, 'utf8'), 'one two');
    assert.deepEqual(everything(), ['a', 'a/b', 'a/b/file']);
  });

  it('writes an empty file', async () => {
    await writeDurably(join(root, 'file'), []);
    assert.equal(readFileSync(join(root, 'file'), 'utf8'), '');
  });

  it('replaces a file by one of its own mode', async () => {
    const path = join(root, 'file');
    writeFileSync(path, 'a long old one', { mode: 0o644 });
    await writeDurably(path, [Buffer.from('new')], { mode: 0o600 });
    assert.equal(readFileSync(path, 'utf8'), 'new');
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  it('lets the file grow in another directory', async () => {
    const temporaryDir = join(root, 'tmp');
    const grown: number[] = [];
    await writeDurably(
      join(root, 'file'),
      (async function* () {
        yield Buffer.from('x');
        grown.push(readdirSync(temporaryDir).length);
        assert.ok(!everything().includes('file'));
      })(),
      { temporaryDir },
    );
    assert.deepEqual(grown, [1]);
    assert.deepEqual(everything(), ['file', 'tmp']);
  });

  const leaving = new AbortController();
  const failures: readonly (readonly [string, () => AsyncGenerator<Uint8Array>, RegExp])[] = [
    [
      'its source fails',
      async function* () {
        yield Buffer.from('half');
        throw new Error('cut off');
      },
      /cut off/,
    ],
    [
      'it is aborted',
      async function* () {
        yield Buffer.from('half');
        leaving.abort(new Error('enough'));
        yield Buffer.from('more');
      },
      /enough/,
    ],
  ];
  for (const [name, source, expected] of failures) {
    it(`keeps the old file, and nothing else, when ${name}`, async () => {
      const path = join(root, 'file');
      writeFileSync(path, 'old');
      await assert.rejects(writeDurably(path, source(), { signal: leaving.signal }), expected);
      assert.equal(readFileSync(path, 'utf8'), 'old');
      assert.deepEqual(everything(), ['file']);
    });
  }

  it('leaves nothing where the place is taken by a directory', async () => {
    await writeDurably(join(root, 'taken/file'), []);
    await assert.rejects(writeDurably(join(root, 'taken'), []), { code: /EISDIR|EEXIST|ENOTEMPTY/ });
    assert.deepEqual(everything(), ['taken', 'taken/file']);
  });
});
