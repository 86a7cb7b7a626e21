import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, open, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { randomly } from '../support/randomly.ts';
import { file, tarBytes } from '../support/tar.ts';

const GIGABYTE = 1_000_000_000;
const MAX_RSS_BYTES = 300_000_000;
const END_BYTES = 1024;

/** An entry's header alone, then its content in pieces, then padding: tarBytes would hold it whole. */
function* tarOf(files: number): Generator<Buffer> {
  // A megabyte that deflate cannot shrink; repeated, it lies beyond deflate's window.
  const block = randomly(9).noise(1_000_000);
  const sizeBytes = Math.floor(GIGABYTE / files);
  for (let row = 0; row < files; row += 1) {
    const header = tarBytes([file(`file-${row}`, '', { pax: { size: String(sizeBytes) } })]);
    yield header.subarray(0, header.length - END_BYTES);
    for (let rest = sizeBytes; rest > 0; rest -= block.length) yield block.subarray(0, rest);
    yield Buffer.alloc((512 - (sizeBytes % 512)) % 512);
  }
  yield Buffer.alloc(END_BYTES);
}

async function layoutWith(directory: string, tar: Iterable<Buffer>): Promise<void> {
  const blobs = join(directory, 'blobs/sha256');
  await mkdir(blobs, { recursive: true });
  const put = async (mediaType: string, value: unknown) => {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = digestOf(bytes);
    await writeFile(join(blobs, digest.slice(7)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const temporary = join(directory, 'layer');
  const hash = createHash('sha256');
  let size = 0;
  const handle = await open(temporary, 'wx');
  for (const bytes of tar) {
    hash.update(bytes);
    size += bytes.length;
    await handle.appendFile(bytes);
  }
  await handle.close();
  const hex = hash.digest('hex');
  await rename(temporary, join(blobs, hex));
  const digest = `sha256:${hex}`;
  const config = await put(MEDIA_TYPE.ociConfig, {
    architecture: 'amd64',
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: [digest] },
  });
  const manifest = await put(MEDIA_TYPE.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociManifest,
    config,
    layers: [{ mediaType: MEDIA_TYPE.ociLayer, digest, size }],
  });
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }));
}

/** Runs the command line; its highest resident memory as the kernel has it, read until it ends. */
async function peakBytes(
  args: readonly string[],
): Promise<{ code: number | null; peak: number; output: string }> {
  const child = spawn('bin/ctr-starlight', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let peak = 0;
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (text: Buffer) => {
      output += text.toString();
    });
  }
  const timer = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      peak = Math.max(peak, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024);
    } catch {
      // gone between two looks
    }
  }, 50);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  clearInterval(timer);
  return { code, peak, output };
}

describe('convert: memory for a layer of 1 GB', function () {
  this.timeout(600_000);
  for (const [name, files, options] of [
    ['one file', 1, []],
    ['20,000 files', 20_000, []],
    ['one file, as eStargz', 1, ['--estargz']],
  ] as const) {
    it(`${name}: below ${MAX_RSS_BYTES / 1e6} MB`, async () => {
      const scratch = await mkdtemp(join(tmpdir(), 'starlight-test-memory-'));
      try {
        const source = join(scratch, 'source');
        await layoutWith(source, tarOf(files));
        const target = `oci:${join(scratch, 'target')}`;
        const { code, peak, output } = await peakBytes(['convert', ...options, `oci:${source}`, target]);
        assert.equal(code, 0, output);
        assert.ok(peak > 30_000_000, 'measured at all');
        assert.ok(peak < MAX_RSS_BYTES, `${peak / 1e6} MB`);
      } finally {
        await rm(scratch, { recursive: true, force: true });
      }
    });
  }
});
