import assert from 'node:assert/strict';
import { type Digest, digestOf } from '../../../schemas/oci/digest.ts';
import { mergeLayers } from '../../../schemas/toc/merge.ts';
import { DownloadError } from '../../../worker/download/download-error.ts';
import { type MadeImage, makeImage } from '../../extensions/starlight/made-image.ts';
import { BundleServer, makeBundle } from '../../support/bundle-server.ts';
import { type Randomly, randomly } from '../../support/randomly.ts';
import { directory, file } from '../../support/tar.ts';
import { DownloadHome } from './download-home.ts';

/** A proxy that sends anything at all: the worker ends with an error of its own, or with the right contents. */

const SEED = 20_261_126;
const ROUNDS_EACH = 25;

describe('Downloads, from a proxy that sends anything', function () {
  this.timeout(120_000);
  let image: MadeImage;
  let contents: Digest[];
  before(async () => {
    image = await makeImage([
      [directory('a'), ...Array.from({ length: 20 }, (_, row) => file(`a/${row}`, `content ${row}`))],
      [file('b', 'b'.repeat(200_000)), file('c', randomly(SEED).noise(90_000))],
    ]);
    const tree = mergeLayers(image.layers);
    contents = Array.from({ length: tree.contentCount }, (_, content) => tree.digestOfContent(content));
  });

  const damages: readonly (readonly [string, (bytes: Buffer, head: number, random: Randomly) => Buffer])[] = [
    [
      'bytes of the header changed',
      (bytes, head, random) => {
        for (let left = 1 + random.below(4); left > 0; left -= 1)
          bytes[random.below(head)] = random.below(256);
        return bytes;
      },
    ],
    [
      'the largest numbers in the header',
      (bytes, head, random) => {
        const at = random.below(head);
        return bytes.fill(0xff, at, Math.min(head, at + 1 + random.below(9)));
      },
    ],
    [
      'bytes of the payloads changed',
      (bytes, head, random) => {
        for (let left = 20; left > 0; left -= 1) {
          bytes[head + random.below(bytes.length - head)] = random.below(256);
        }
        return bytes;
      },
    ],
    ['an end before the end', (bytes, _head, random) => bytes.subarray(0, random.below(bytes.length))],
    [
      'a piece cut out',
      (bytes, _head, random) => {
        const at = random.below(bytes.length);
        return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(5000))]);
      },
    ],
    [
      'a piece put in',
      (bytes, _head, random) => {
        const at = random.below(bytes.length);
        return Buffer.concat([
          bytes.subarray(0, at),
          random.noise(1 + random.below(5000)),
          bytes.subarray(at),
        ]);
      },
    ],
  ];
  for (const [name, damage] of damages) {
    it(name, async () => {
      const random = randomly(SEED);
      await using server = await BundleServer.start();
      const signal = new AbortController().signal;
      let completed = 0;
      for (let round = 0; round < ROUNDS_EACH; round += 1) {
        await using home = await DownloadHome.open(server.url, { retries: 0 });
        server.offer(makeBundle(image), image);
        const { bytes, positions } = makeBundle(image);
        server.bundle = damage(bytes, positions[0] ?? 0, random);
        server.etag = `"${digestOf(server.bundle)}"`;
        try {
          await (await home.start()).done;
          completed += 1;
          assert.deepEqual(home.present(contents), contents, `round ${round}: complete, and is not`);
        } catch (error) {
          assert.ok(error instanceof DownloadError, `round ${round}: ${String(error)}`);
          assert.notEqual(home.catalogue.find(image.manifest.digest)?.state, 'complete');
        }
        for (const digest of home.present(contents))
          assert.equal(await home.store.rehash(digest, signal), true);
      }
      if (name.includes('payloads'))
        assert.equal(completed, ROUNDS_EACH, 'fetched alone where it came wrong');
      else assert.ok(completed < ROUNDS_EACH);
    });
  }
});
