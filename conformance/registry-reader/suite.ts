import assert from 'node:assert/strict';
import type { RegistryReader } from '../../extensions/starlight/registry-reader.ts';
import { RegistryReadError } from '../../extensions/starlight/registry-reader.ts';
import type { Digest } from '../../schemas/oci/digest.ts';

/** A reader, and what the registry behind it holds. */
export interface ReaderBench extends AsyncDisposable {
  readonly reader: RegistryReader;
  readonly name: string;
  /** A manifest tagged `v1`. */
  readonly manifest: { readonly digest: Digest; readonly mediaType: string; readonly bytes: Uint8Array };
  /** At least 1000 bytes. */
  readonly blob: { readonly digest: Digest; readonly bytes: Uint8Array };
  /** What refers to `manifest`: of the artifact types `x/one` and `x/two`, one each. */
  readonly referrers: { readonly one: Digest; readonly two: Digest };
}

const ABSENT = `sha256:${'0'.repeat(64)}` as Digest;
/** Names and references that no registry has; what looks like a path must not become one. */
const UNKNOWN_MANIFESTS: readonly (readonly [string, string])[] = [
  ['', 'v2'],
  ['', ABSENT],
  ['', '../../other/manifests/v1'],
  ['', ''],
  ['no/such', 'v1'],
  ['../../etc', 'v1'],
  ['A', 'v1'],
  ['', 'sha256:xyz'],
];

async function bytesOf(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(chunks));
}

/** The contract of RegistryReader. `open` makes the bench, once; nothing here changes it. */
export function registryReaderSuite(name: string, open: () => Promise<ReaderBench>): void {
  describe(`RegistryReader: ${name}`, () => {
    let bench: ReaderBench;
    const signal = new AbortController().signal;
    before(async () => {
      bench = await open();
    });
    after(() => bench?.[Symbol.asyncDispose]());

    it('reads a manifest by tag and by digest', async () => {
      for (const reference of ['v1', bench.manifest.digest]) {
        const found = await bench.reader.manifest(bench.name, reference, undefined, signal);
        assert.ok(found !== undefined);
        assert.equal(found.digest, bench.manifest.digest);
        assert.equal(found.mediaType, bench.manifest.mediaType);
        assert.ok(Buffer.from(found.bytes).equals(bench.manifest.bytes));
      }
    });

    for (const [repository, reference] of UNKNOWN_MANIFESTS) {
      it(`has no manifest ${JSON.stringify(reference.slice(0, 30))} in ${repository || 'the repository'}`, async () => {
        const found = await bench.reader.manifest(repository || bench.name, reference, undefined, signal);
        assert.equal(found, undefined);
      });
    }

    const RANGES: readonly (readonly [number, number] | undefined)[] = [
      undefined,
      [0, 1],
      [0, 1000],
      [10, 500],
      [999, 1],
      [500, 0],
    ];
    for (const range of RANGES) {
      it(`reads ${range === undefined ? 'a whole blob' : `${range[1]} bytes from ${range[0]}`}`, async () => {
        const { digest, bytes } = bench.blob;
        const asked = range === undefined ? undefined : { offset: range[0], length: range[1] };
        const blob = await bench.reader.blob(bench.name, digest, asked, undefined, signal);
        assert.ok(blob !== undefined);
        const expected = range === undefined ? bytes : bytes.subarray(range[0], range[0] + range[1]);
        assert.equal(blob.sizeBytes, expected.byteLength);
        assert.ok((await bytesOf(blob.bytes)).equals(expected));
      });
    }

    it('refuses a range beyond the blob', async () => {
      const range = { offset: bench.blob.bytes.byteLength - 10, length: 20 };
      await assert.rejects(
        bench.reader.blob(bench.name, bench.blob.digest, range, undefined, signal),
        (error) => error instanceof RegistryReadError && error.fault.kind === 'protocol',
      );
    });

    it('has no blob that is not there', async () => {
      assert.equal(await bench.reader.blob(bench.name, ABSENT, undefined, undefined, signal), undefined);
      assert.equal(
        await bench.reader.blob('no/such', ABSENT, { offset: 0, length: 1 }, undefined, signal),
        undefined,
      );
      assert.equal(
        await bench.reader.blob('../x', bench.blob.digest, undefined, undefined, signal),
        undefined,
      );
    });

    it('lists referrers, of one type too, and none where there are none', async () => {
      const { one, two } = bench.referrers;
      const list = async (subject: Digest, type?: string) =>
        (await bench.reader.referrers(bench.name, subject, type, undefined, signal))
          .map((entry) => entry.digest)
          .sort();
      assert.deepEqual(await list(bench.manifest.digest), [one, two].sort());
      assert.deepEqual(await list(bench.manifest.digest, 'x/two'), [two]);
      assert.deepEqual(await list(bench.manifest.digest, 'x/three'), []);
      assert.deepEqual(await list(ABSENT), []);
      assert.deepEqual(await bench.reader.referrers('no/such', ABSENT, undefined, undefined, signal), []);
    });

    it('throws the reason of an aborted signal', async () => {
      const reason = new Error('enough');
      const aborted = AbortSignal.abort(reason);
      for (const call of [
        () => bench.reader.manifest(bench.name, 'v1', undefined, aborted),
        () => bench.reader.blob(bench.name, bench.blob.digest, undefined, undefined, aborted),
        () => bench.reader.referrers(bench.name, ABSENT, undefined, undefined, aborted),
      ]) {
        await assert.rejects(
          async () => call(),
          (error) => error === reason,
        );
      }
    });

    it('ends a blob on its way when the signal is aborted, and when its reader stops', async () => {
      const controller = new AbortController();
      const cut = await bench.reader.blob(
        bench.name,
        bench.blob.digest,
        undefined,
        undefined,
        controller.signal,
      );
      assert.ok(cut !== undefined);
      controller.abort(new Error('enough'));
      await assert.rejects(bytesOf(cut.bytes));
      const left = await bench.reader.blob(bench.name, bench.blob.digest, undefined, undefined, signal);
      await left?.bytes[Symbol.asyncIterator]().return?.();
      const again = await bench.reader.blob(bench.name, bench.blob.digest, undefined, undefined, signal);
      assert.ok((await bytesOf(again?.bytes ?? assert.fail())).equals(bench.blob.bytes));
    });
  });
}
