import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { writeEstargzLayer } from '../../schemas/layer/estargz-layer.ts';
import { scanLayer } from '../../schemas/layer/scan-layer.ts';
import { digestOf } from '../../schemas/oci/digest.ts';
import { skip } from '../support/skip.ts';
import { directory, file, hardlink, symlink, type TarEntry, tarBytes } from '../support/tar.ts';

const run = promisify(execFile);
const signal = new AbortController().signal;
const SOURCE = resolve('test/support/estargz-verify');

/** Compressible, and different every few bytes. */
function counted(sizeBytes: number): Buffer {
  const out = Buffer.alloc(sizeBytes);
  for (let at = 0; at + 8 <= sizeBytes; at += 8) out.writeUInt32LE(at, at);
  return out;
}

const ENTRIES: readonly TarEntry[] = [
  directory('etc'),
  file('etc/motd', 'hello\n', { uid: 70_000, mtimeSeconds: 1_234_567.6 }),
  file('etc/empty'),
  file('exact', counted(4 * 1024 * 1024)),
  file('large', counted(9_000_001), { xattrs: { 'security.capability': Buffer.from([1, 0, 255]) } }),
  file(`${'d/'.repeat(100)}long`, 'x'.repeat(5_000)),
  symlink('link', 'etc/motd'),
  hardlink('hard', 'etc/motd'),
];

describe('eStargz and stargz-snapshotter', function () {
  this.timeout(180_000);
  let scratch: string;
  let tool: string;
  before(async function () {
    scratch = await mkdtemp(join(tmpdir(), 'starlight-test-estargz-'));
    tool = join(scratch, 'estargz-verify');
    try {
      await run('go', ['version']);
    } catch {
      skip(this, 'there is no Go on this machine to build stargz-snapshotter with');
    }
    await run('go', ['build', '-o', tool, '.'], { cwd: SOURCE });
  });
  after(() => rm(scratch, { recursive: true, force: true }));

  it('verifies every file of a layer of ours', async () => {
    const blob = Buffer.concat(await Array.fromAsync(writeEstargzLayer([tarBytes(ENTRIES)], signal)));
    const layer = await scanLayer([blob], signal);
    assert.ok(layer.estargz);
    const path = join(scratch, 'ours');
    await writeFile(path, blob);
    const { stdout } = await run(tool, ['verify', path, layer.estargz.tocDigest]);
    // Those above, the hard link, which is a file as well, and the landmark.
    assert.equal(Number(stdout), ENTRIES.filter((one) => one.type === 'file').length + 2);
    await assert.rejects(run(tool, ['verify', path, digestOf('another')]), /invalid TOC/);
  });

  it('agrees with us on a layer of theirs', async () => {
    const tar = join(scratch, 'tar');
    const path = join(scratch, 'theirs');
    await writeFile(tar, tarBytes(ENTRIES));
    const { stdout } = await run(tool, ['build', tar, path]);
    const layer = await scanLayer([await readFile(path)], signal);
    assert.equal(layer.estargz?.tocDigest, stdout.trim());
    assert.equal(layer.seekable, true);
    assert.equal(layer.toc.rowCount, ENTRIES.length);
  });
});
