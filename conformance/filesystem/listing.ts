import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type DriverFactory, Fixture, run, type SampleMount } from './fixture.ts';
import { at } from './metadata.ts';
import { directory, file, sampleTree } from './sample-tree.ts';

const MANY = 5_000;
const LISTER = fileURLToPath(new URL('./list-directory.ts', import.meta.url));
const NAMES: readonly Uint8Array[] = [
  Buffer.from('plain'),
  Buffer.from('with space'),
  Buffer.from('line\nfeed'),
  Buffer.from('ümlaut'),
  Buffer.from([0xff]),
  Buffer.from([0xc3, 0x28]),
  Buffer.alloc(255, 0x80),
  Buffer.from('...'),
];

/** How many bytes a reader offers at once, least first: one entry of a long name has to fit. */
const PIECES_BYTES: readonly number[] = [280, 512, 4_096, 1 << 20];

export function describeListing(makeDriver: DriverFactory): void {
  describe('listing', () => {
    let fixture: Fixture;
    let mount: SampleMount;

    before(async () => {
      fixture = await Fixture.open(makeDriver);
      const many = Array.from({ length: MANY }, (_, index) =>
        file(`many/file-${index}`, Buffer.from(`${index}`)),
      );
      mount = await fixture.mount(
        sampleTree([
          directory('many'),
          ...many,
          directory('names'),
          ...NAMES.map((name) => file(Buffer.concat([Buffer.from('names/'), name]), Buffer.from('x'))),
          directory('empty'),
          directory('deep/er/still'),
        ]),
      );
    });
    after(() => fixture.close());

    it('lists the root', async () => {
      assert.deepEqual((await readdir(mount.path)).sort(), ['deep', 'empty', 'many', 'names']);
    });

    it('lists an empty directory', async () => {
      assert.deepEqual(await readdir(at(mount, 'empty')), []);
    });

    it('lists names byte for byte', async () => {
      const seen = await readdir(at(mount, 'names'), { encoding: 'buffer' });
      assert.deepEqual(seen.map(hex).sort(), NAMES.map(hex).sort());
    });

    it('tells the types of entries', async () => {
      const seen = await readdir(mount.path, { withFileTypes: true });
      assert.ok(seen.every((entry) => entry.isDirectory()));
    });

    for (const bytes of PIECES_BYTES) {
      it(`lists each of ${MANY} entries once, ${bytes} bytes at a time`, async () => {
        const { stdout, stderr, code } = await run(process.execPath, [
          LISTER,
          `${mount.path}/many`,
          `${bytes}`,
        ]);
        assert.equal(code, 0, stderr);
        const names = stdout.toString().trimEnd().split('\n');
        const expected = ['.', '..', ...Array.from({ length: MANY }, (_, index) => `file-${index}`)];
        assert.deepEqual(names.sort(), expected.map((name) => hex(Buffer.from(name))).sort());
      });
    }

    it('finds every entry again by name', async () => {
      const { stdout, code } = await run('find', [
        `${mount.path}/many`,
        '-type',
        'f',
        '-size',
        '-2',
        '-printf',
        '%s\n',
      ]);
      assert.equal(code, 0);
      assert.equal(stdout.toString().trimEnd().split('\n').length, MANY);
    });

    it('walks up again by ".."', async () => {
      const { stdout } = await run('sh', ['-c', `cd "${mount.path}/deep/er/still" && ls ../../..`]);
      assert.deepEqual(stdout.toString().trim().split('\n'), ['deep', 'empty', 'many', 'names']);
    });
  });
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
