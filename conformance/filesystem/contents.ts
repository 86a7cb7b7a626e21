import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { KIND } from '../../schemas/toc/kind.ts';
import { type DriverFactory, Fixture, run, type SampleMount } from './fixture.ts';
import { at } from './metadata.ts';
import { sampleBytes } from './sample-content.ts';
import { file, sampleTree } from './sample-tree.ts';

const LARGE = sampleBytes(3 * 1024 * 1024 + 17, 1);
const MAPPER = fileURLToPath(new URL('./map-file.ts', import.meta.url));
const PROGRAM = '/bin/echo';

/** Reads of the large file: where, and how much is asked for. */
const READS: readonly (readonly [position: number, length: number])[] = [
  [0, 1],
  [0, LARGE.length],
  [1, 4096],
  [4095, 2],
  [4096, 4096],
  [131_071, 131_073],
  [1_048_575, 1_048_577],
  [LARGE.length - 1, 1],
  [LARGE.length - 1, 4096],
  [LARGE.length, 4096],
  [LARGE.length + 1_000_000, 1],
];

/** Contents that are all there. */
export function describeContents(makeDriver: DriverFactory): void {
  describe('contents', () => {
    let fixture: Fixture;
    let mount: SampleMount;
    const program = readFileSync(PROGRAM);

    before(async () => {
      fixture = await Fixture.open(makeDriver);
      const tree = sampleTree([
        file('large', LARGE),
        file('large-again', LARGE),
        file('empty', Buffer.alloc(0)),
        file('echo', program, { mode: 0o755 }),
        file('secret', Buffer.from('secret'), { mode: 0o600 }),
        ...Array.from({ length: 700 }, (_, index) => file(`small-${index}`, Buffer.from(`number ${index}`))),
        { kind: KIND.chardev, path: 'zero', mode: 0o666, devMajor: 1, devMinor: 5 },
      ]);
      mount = await fixture.mount(tree);
      for (const bytes of [LARGE, program, Buffer.from('secret')]) mount.contents.put(bytes);
      for (let index = 0; index < 700; index++) mount.contents.put(Buffer.from(`number ${index}`));
    });
    after(() => fixture.close());

    for (const [position, length] of READS) {
      it(`reads ${length} bytes at ${position}`, async () => {
        const handle = await open(at(mount, 'large'));
        try {
          const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, position);
          assert.ok(buffer.subarray(0, bytesRead).equals(LARGE.subarray(position, position + length)));
        } finally {
          await handle.close();
        }
      });
    }

    it('reads the same content under another name', async () => {
      assert.ok((await readFile(at(mount, 'large-again'))).equals(LARGE));
    });

    it('reads an empty file', async () => {
      assert.equal((await readFile(at(mount, 'empty'))).length, 0);
    });

    it('reads more files than it keeps open, twice', async () => {
      for (let round = 0; round < 2; round++) {
        for (let index = 0; index < 700; index++) {
          const seen = await readFile(at(mount, `small-${index}`), 'utf8');
          assert.equal(seen, `number ${index}`);
        }
      }
    });

    it('runs a program: exec and mmap', async () => {
      // By way of a shell: spawn() stops this thread until the exec is done, and it may be the one that answers.
      const { stdout, code } = await run('sh', ['-c', '"$0" from the tree', `${mount.path}/echo`]);
      assert.deepEqual([code, stdout.toString()], [0, 'from the tree\n']);
    });

    it('maps a large file into memory', async () => {
      const { stdout, stderr, code } = await run(process.execPath, [MAPPER, `${mount.path}/large`]);
      assert.equal(code, 0, stderr);
      assert.ok(stdout.equals(LARGE));
    });

    it('opens a device', async () => {
      const { stdout } = await run('head', ['-c', '4', `${mount.path}/zero`]);
      assert.deepEqual(stdout, Buffer.alloc(4));
    });

    it('keeps a file from those who may not read it', async () => {
      const { code, stderr } = await run('cat', [`${mount.path}/secret`], { uid: 65_534, gid: 65_534 });
      assert.equal(code, 1);
      assert.match(stderr, /Permission denied/);
    });
  });
}
