import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ScratchFile } from '../../../schemas/disk/scratch-file.ts';

describe('ScratchFile', () => {
  let root = '';
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'starlight-scratch-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));
  const read = async (file: ScratchFile) => Buffer.concat(await Array.fromAsync(file.bytes()));

  it('has no name, and room for two on one file system', async () => {
    await using one = await ScratchFile.open(root);
    await using two = await ScratchFile.open(root);
    await one.append(Buffer.from('one'));
    await two.append(Buffer.from('two'));
    assert.deepEqual(readdirSync(root), []);
    assert.deepEqual([await read(one), await read(two)].map(String), ['one', 'two']);
  });

  it('gives what was appended, as often as it is asked, also at once and while it grows', async () => {
    await using file = await ScratchFile.open(root);
    assert.equal((await read(file)).length, 0);
    const pieces = [randomBytes(1), randomBytes(200_000), Buffer.alloc(0), randomBytes(65_536)];
    for (const piece of pieces) await file.append(piece);
    const [one, two] = await Promise.all([read(file), read(file)]);
    assert.deepEqual(one, Buffer.concat(pieces));
    assert.deepEqual(two, one);
    await file.append(Buffer.from('more'));
    assert.deepEqual(await read(file), Buffer.concat([...pieces, Buffer.from('more')]));
  });

  it('is over when it is disposed of, also of a reader in the middle', async () => {
    const file = await ScratchFile.open(root);
    await file.append(Buffer.alloc(200_000));
    const reader = file.bytes();
    await reader.next();
    await file[Symbol.asyncDispose]();
    await assert.rejects(reader.next(), { code: 'EBADF' });
  });

  it('names what keeps it from being opened', async () => {
    await assert.rejects(ScratchFile.open(join(root, 'none')), { code: 'ENOENT' });
  });
});
