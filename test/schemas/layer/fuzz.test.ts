import assert from 'node:assert/strict';
import { writeEstargzLayer } from '../../../schemas/layer/estargz-layer.ts';
import { LayerError } from '../../../schemas/layer/layer-error.ts';
import { scanLayer } from '../../../schemas/layer/scan-layer.ts';
import { writeSeekableLayer } from '../../../schemas/layer/seekable-layer.ts';
import { randomly } from '../../support/randomly.ts';
import { directory, file, hardlink, symlink, tarBytes } from '../../support/tar.ts';

const signal = new AbortController().signal;
const ROUNDS = 1_500;
const BLOCK_BYTES = 512;

/** Gives every block that looks like a ustar header the checksum that it ought to have. */
function repair(tar: Buffer): void {
  for (let at = 0; at + BLOCK_BYTES <= tar.length; at += BLOCK_BYTES) {
    const block = tar.subarray(at, at + BLOCK_BYTES);
    if (block.toString('latin1', 257, 262) !== 'ustar') continue;
    block.fill(' ', 148, 156);
    const sum = block.reduce((total, byte) => total + byte, 0);
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  }
}

const PLAIN = [
  directory('a'),
  file('a/b', 'x'.repeat(3_000), { xattrs: { 'user.a': 'b' }, mtimeSeconds: 1.5, uid: 99_999_999 }),
  symlink('l', 't'.repeat(150)),
  hardlink('h', 'a/b'),
  file('g'.repeat(150), 'y', { format: 'gnu' }),
];
const sparse = {
  form: 'pax',
  sizeBytes: 9_000,
  segments: [{ offset: 100, data: Buffer.from('data') }],
} as const;

describe('scanLayer() of damaged bytes', () => {
  const cases: readonly (readonly [string, () => Promise<Buffer>, (bytes: Buffer) => void])[] = [
    ['a tar', async () => tarBytes(PLAIN), () => {}],
    ['a tar with right checksums', async () => tarBytes([...PLAIN, file('s', '', { sparse })]), repair],
    [
      'a seekable layer',
      async () => {
        const tar = tarBytes([...PLAIN, file('s', '', { sparse })]);
        return Buffer.concat(await Array.fromAsync(writeSeekableLayer([tar], signal)));
      },
      () => {},
    ],
    [
      'an eStargz layer',
      async () => Buffer.concat(await Array.fromAsync(writeEstargzLayer([tarBytes(PLAIN)], signal))),
      () => {},
    ],
  ];
  for (const [name, make, finish] of cases) {
    it(`${name}: a LayerError, or a sound table`, async () => {
      const random = randomly(7);
      const sound = await make();
      let refused = 0;
      for (let round = 0; round < ROUNDS; round += 1) {
        const damaged = Buffer.from(sound);
        for (let n = random.below(3); n >= 0; n -= 1)
          damaged[random.below(damaged.length)] = random.below(256);
        finish(damaged);
        const bytes = random.below(10) === 0 ? damaged.subarray(0, random.below(damaged.length)) : damaged;
        try {
          const layer = await scanLayer([bytes], signal);
          assert.equal(layer.sizeBytes, bytes.length);
        } catch (error) {
          if (!(error instanceof LayerError)) throw error;
          refused += 1;
        }
      }
      assert.ok(refused > ROUNDS / 10);
    }).timeout(60_000);
  }
});
