import assert from 'node:assert/strict';
import { BundleError } from '../../../schemas/bundle/error.ts';
import { decodeFrame, encodeFrame, FRAME_BYTES } from '../../../schemas/bundle/frame.ts';
import type { BundleHeader, BundleToc } from '../../../schemas/bundle/header.ts';
import { decodeBundleHeader, encodeBundleHeader } from '../../../schemas/bundle/header-codec.ts';
import { type PayloadChunk, payloadChunks, readBundle } from '../../../schemas/bundle/reader.ts';
import { packToc, packTocAgainst, unpackToc } from '../../../schemas/bundle/toc-packing.ts';
import { type Digest, digestOf } from '../../../schemas/oci/digest.ts';
import { encodeImageToc } from '../../../schemas/toc/image-toc.ts';
import { randomly } from '../../support/randomly.ts';
import { layerOf } from '../../support/toc-entries.ts';

const never = new AbortController().signal;
const table = encodeImageToc([
  layerOf([
    ['file', 'a', { content: 'aaa' }],
    ['file', 'b', { content: 'bb' }],
  ]),
]);
const oldTable = encodeImageToc([layerOf([['file', 'a', { content: 'aaa' }]])]);
const PAYLOADS = [Buffer.from('first payload'), Buffer.from('x'), Buffer.from('third')];

function header(toc: BundleToc = packToc(table), change: Partial<BundleHeader> = {}): BundleHeader {
  const digest = digestOf('manifest');
  const layers = [{ digest, size: 12, diffId: digest }];
  return {
    images: [
      {
        name: 'a/b',
        reference: 'a/b:1',
        manifestDigest: digest,
        platform: 'linux/amd64',
        tocDigest: toc.tocDigest,
        tocBound: true,
        layers,
      },
    ],
    from: [{ name: 'a/b', manifestDigest: digest, tocDigest: digestOf(oldTable) }],
    unknownFrom: [`x@${digest}`],
    blobs: [{ digest, mediaType: 'application/json', bytes: Buffer.from('manifest') }],
    tocs: [toc],
    files: {
      content: Uint32Array.of(5, 0, 1, 70_000),
      payload: Uint32Array.of(0, 1, 0, 2),
      innerOffset: Float64Array.of(0, 0, 512, 2 ** 40),
    },
    payloads: {
      encoding: Uint8Array.of(0, 2, 1),
      length: Float64Array.from(PAYLOADS, (one) => one.length),
      dictionary: new Uint8Array(32).fill(9),
    },
    ...change,
  };
}

function bundle(of: BundleHeader = header()): Buffer {
  return Buffer.concat([encodeBundleHeader(of), ...PAYLOADS]);
}

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function joined(chunks: AsyncIterable<PayloadChunk>): Promise<string[]> {
  const out: string[] = [];
  for await (const { payload, bytes } of chunks) out[payload] = (out[payload] ?? '') + Buffer.from(bytes);
  return out;
}

/** JSON in which bytes look alike whatever array holds them. */
function plainly(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) => {
    const data = one !== null && typeof one === 'object' && 'data' in one ? one.data : one;
    return ArrayBuffer.isView(data) || Array.isArray(data) ? Object.values(data) : data;
  });
}

const plain = { dictionary: () => undefined };

describe('readBundle()', () => {
  for (const size of [1, 7, 32, 33, 64, 1 << 20]) {
    it(`reads a bundle that comes in pieces of ${size} bytes`, async () => {
      const bytes = bundle();
      const open = await readBundle(pieces(bytes, size), plain, never);
      assert.equal(plainly(open.header), plainly(header()));
      assert.equal(open.totalBytes, bytes.length);
      assert.deepEqual(Buffer.from(open.tocs[0] ?? []), Buffer.from(table));
      assert.deepEqual(await joined(open.payloads()), PAYLOADS.map(String));
    });
  }

  it('tells where to resume, and reads on from there', async () => {
    const bytes = bundle();
    const open = await readBundle(pieces(bytes, bytes.length), plain, never);
    for (let cut = open.payloadsPosition; cut <= bytes.length; cut += 1) {
      const got: Buffer[] = [];
      let next = open.payloadsPosition;
      const take = async (chunks: AsyncIterable<PayloadChunk>): Promise<void> => {
        for await (const chunk of chunks) {
          got.push(Buffer.from(chunk.bytes));
          next = chunk.nextPosition;
        }
      };
      const first = payloadChunks(pieces(bytes.subarray(next, cut), 4), open, next, never);
      if (cut < bytes.length) await assert.rejects(take(first), { kind: 'truncated' });
      else await take(first);
      assert.equal(next, cut);
      if (next < bytes.length) await take(payloadChunks(pieces(bytes.subarray(next), 3), open, next, never));
      assert.deepEqual(Buffer.concat(got), Buffer.concat(PAYLOADS));
    }
  });

  it('marks the last piece of each payload', async () => {
    const open = await readBundle(pieces(bundle(), 5), plain, never);
    const last: number[] = [];
    for await (const chunk of open.payloads()) if (chunk.last) last.push(chunk.payload);
    assert.deepEqual(last, [0, 1, 2]);
  });

  it('reads a table packed against one at hand, and names one that is not', async () => {
    const toc = await packTocAgainst(table, digestOf(table), oldTable, digestOf(oldTable));
    const bytes = bundle(header(toc));
    const dictionary = (digest: Digest) => (digest === digestOf(oldTable) ? oldTable : undefined);
    const open = await readBundle(pieces(bytes, 50), { dictionary }, never);
    assert.deepEqual(Buffer.from(open.tocs[0] ?? []), Buffer.from(table));
    await assert.rejects(readBundle(pieces(bytes, 50), plain, never), { kind: 'dictionary-unknown' });
    await assert.rejects(readBundle(pieces(bytes, 50), { dictionary: () => table }, never), (error) => {
      assert.ok(error instanceof BundleError);
      return error.kind === 'digest-mismatch' || error.kind === 'malformed';
    });
  });

  const lying = packToc(table, digestOf('another'));
  const bad: readonly (readonly [string, Buffer, string])[] = [
    ['nothing', Buffer.alloc(0), 'truncated'],
    ['less than a frame', bundle().subarray(0, FRAME_BYTES - 1), 'truncated'],
    ['less than the header', bundle().subarray(0, FRAME_BYTES + 20), 'truncated'],
    ['another magic', Buffer.from(`SLDC${'\0'.repeat(40)}`), 'version'],
    ['another version', edited((bytes) => bytes.writeUInt16LE(2, 4)), 'version'],
    ['an unknown flag', edited((bytes) => bytes.writeUInt16LE(1, 6)), 'version'],
    ['a header beyond the limit', edited((bytes) => bytes.writeUInt32LE(0xffffffff, 8)), 'limit'],
    [
      'a header that unpacks to more than the limit',
      edited((bytes) => bytes.writeUInt32LE(0xffffffff, 12)),
      'limit',
    ],
    [
      'a header that unpacks to more than it says',
      edited((bytes) => bytes.writeUInt32LE(3, 12)),
      'malformed',
    ],
    ['a header that unpacks to less', edited((bytes) => bytes.writeUInt32LE(1 << 20, 12)), 'malformed'],
    ['more payloads than the table has', edited((bytes) => bytes.writeUInt32LE(4, 16)), 'malformed'],
    ['fewer payloads than the table has', edited((bytes) => bytes.writeUInt32LE(2, 16)), 'malformed'],
    ['something in the empty field', edited((bytes) => bytes.writeUInt32LE(1, 20)), 'malformed'],
    ['payloads of another total', edited((bytes) => bytes.writeUInt32LE(7, 24)), 'malformed'],
    ['payloads beyond 2^53', edited((bytes) => bytes.writeUInt32LE(0xffffffff, 28)), 'malformed'],
    ['payloads beyond the limit', edited((bytes) => bytes.writeUInt32LE(1 << 20, 28)), 'limit'],
    ['a table that has not its digest', bundle(header(lying)), 'digest-mismatch'],
    [
      'a table that is no zstd',
      bundle(header({ ...packToc(table), bytes: Buffer.from('zstd?') })),
      'malformed',
    ],
    [
      'a table that is longer',
      bundle(header({ ...packToc(table), sizeBytes: table.length - 1 })),
      'malformed',
    ],
    [
      'a table that is shorter',
      bundle(header({ ...packToc(table), sizeBytes: table.length + 1 })),
      'digest-mismatch',
    ],
    ['no table for an image', bundle(header(packToc(table), { tocs: [] })), 'malformed'],
    [
      'the table of another image',
      bundle(header(packToc(table), { tocs: [packToc(oldTable)] })),
      'malformed',
    ],
    [
      'a digest that is none',
      bundle(
        header(packToc(table), {
          blobs: [{ digest: 'sha256:x' as Digest, mediaType: '', bytes: Buffer.alloc(0) }],
        }),
      ),
      'malformed',
    ],
    [
      'an image without a platform',
      bundle(header(packToc(table), { images: [{ ...header().images[0], platform: 3 } as never] })),
      'malformed',
    ],
    [
      'an encoding of tomorrow',
      bundle(
        header(packToc(table), { payloads: { ...header().payloads, encoding: Uint8Array.of(0, 2, 3) } }),
      ),
      'version',
    ],
    [
      'a payload of no bytes',
      bundle(
        header(packToc(table), { payloads: { ...header().payloads, length: Float64Array.of(1, 0, 3) } }),
      ),
      'malformed',
    ],
    [
      'a patch without a dictionary',
      bundle(header(packToc(table), { payloads: { ...header().payloads, dictionary: new Uint8Array(0) } })),
      'truncated',
    ],
    [
      'a dictionary without a patch',
      bundle(
        header(packToc(table), { payloads: { ...header().payloads, encoding: Uint8Array.of(0, 0, 0) } }),
      ),
      'truncated',
    ],
    [
      'a payload that no file uses',
      bundle(header(packToc(table), { files: { ...header().files, payload: Uint32Array.of(0, 1, 0, 1) } })),
      'malformed',
    ],
    [
      'a file of no payload',
      bundle(header(packToc(table), { files: { ...header().files, payload: Uint32Array.of(0, 1, 2, 3) } })),
      'malformed',
    ],
  ];
  for (const [what, bytes, kind] of bad) {
    it(`refuses ${what}`, async () => {
      await assert.rejects(readBundle(pieces(bytes, 11), plain, never), (error) => {
        assert.ok(error instanceof BundleError, String(error));
        assert.equal(error.kind, kind, error.message);
        return true;
      });
    });
  }

  it('refuses what comes after the last payload', async () => {
    const open = await readBundle(pieces(Buffer.concat([bundle(), Buffer.from('!')]), 16), plain, never);
    await assert.rejects(joined(open.payloads()), { kind: 'malformed' });
  });

  it('closes the stream when the header is bad, and when reading ends', async () => {
    for (const [bytes, fails] of [
      [bundle(), false],
      [edited((one) => one.writeUInt32LE(2, 16)), true],
    ] as const) {
      let closed = false;
      const stream = (async function* () {
        try {
          yield* pieces(bytes, 16);
        } finally {
          closed = true;
        }
      })();
      const reading = readBundle(stream, plain, never);
      if (fails) await assert.rejects(reading);
      else for await (const _ of (await reading).payloads()) break;
      assert.equal(closed, true);
    }
  });

  it('stops with the reason of its signal', async () => {
    const controller = new AbortController();
    const open = await readBundle(pieces(bundle(), 40), plain, controller.signal);
    controller.abort(new Error('enough'));
    await assert.rejects(joined(open.payloads()), { message: 'enough' });
    await assert.rejects(readBundle(pieces(bundle(), 40), plain, controller.signal), { message: 'enough' });
  });
});

describe('encodeBundleHeader()', () => {
  it('gives the same bytes for the same header', () => {
    assert.deepEqual(encodeBundleHeader(header()), encodeBundleHeader(header()));
  });

  it('refuses payloads that are not numbered by first use', () => {
    const files = { ...header().files, payload: Uint32Array.of(1, 0, 2, 2) };
    assert.throws(() => encodeBundleHeader(header(packToc(table), { files })), { kind: 'malformed' });
  });
});

describe('decodeBundleHeader()', () => {
  it('answers damage with its own error or another header, never with anything else', () => {
    const whole = encodeBundleHeader(header());
    const random = randomly(20260801);
    let refused = 0;
    for (let round = 0; round < 3000; round += 1) {
      const bytes = Buffer.from(random.damaged(whole));
      try {
        const frame = decodeFrame(bytes.subarray(0, FRAME_BYTES));
        decodeBundleHeader(frame, bytes.subarray(FRAME_BYTES, FRAME_BYTES + frame.headerLength));
      } catch (error) {
        assert.ok(error instanceof BundleError, `round ${round}: ${error}`);
        refused += 1;
      }
    }
    assert.ok(refused > 2000, `${refused} refused`);
  });
});

describe('unpackToc()', () => {
  it('gives back what packTocAgainst() packed, and small if little differs', async () => {
    const rows = (extra: string) =>
      Array.from(
        { length: 3000 },
        (_, i) => ['file', `usr/lib/file-${i}`, { content: `${i}` }] as const,
      ).concat([['file', 'usr/lib/last', { content: extra }] as never]);
    const old = encodeImageToc([layerOf(rows('one'))]);
    const table = encodeImageToc([layerOf(rows('two'))]);
    const toc = await packTocAgainst(table, digestOf(table), old, digestOf(old));
    assert.deepEqual(Buffer.from(unpackToc(toc, () => old)), Buffer.from(table));
    assert.ok(toc.bytes.length < 400, `${toc.bytes.length} bytes`);
    assert.ok(packToc(table).bytes.length > 90_000);
  });
});

describe('encodeFrame()', () => {
  it('refuses what decodeFrame() would refuse', () => {
    const frame = { headerLength: 1, headerBytes: 1, payloadCount: 1, payloadBytes: 2 ** 51 };
    assert.throws(() => encodeFrame(frame), { kind: 'limit' });
  });
});

function edited(edit: (bytes: Buffer) => unknown): Buffer {
  const bytes = bundle();
  edit(bytes);
  return bytes;
}
