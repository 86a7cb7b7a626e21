import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { digestHex, digestOf } from '../../schemas/oci/digest.ts';
import { isIndexType, layerCompression } from '../../schemas/oci/media-types.ts';
import { parseImageConfig, parseIndex, parseManifest } from '../../schemas/oci/types.ts';
import { type ImageSource, makeLayout } from './images.ts';
import { directory, file, opaque, symlink, whiteout } from './tar.ts';

const LAYERS = [
  [directory('etc'), file('etc/a', 'one'), file('etc/b', 'two'), symlink('etc/c', 'a')],
  [whiteout('etc/b')],
  [directory('etc'), opaque('etc'), file('etc/z', 'last')],
] as const;
const SOURCES: readonly (readonly [name: string, source: ImageSource])[] = [
  ['OCI, gzip', { tag: 't', layers: LAYERS }],
  ['OCI, zstd', { tag: 't', layers: LAYERS.map((entries) => ({ entries, compression: 'zstd' })) }],
  ['OCI, uncompressed', { tag: 't', layers: LAYERS.map((entries) => ({ entries, compression: 'none' })) }],
  ['Docker', { tag: 't', layers: LAYERS, docker: true }],
];

describe('makeLayout()', () => {
  let path = '';
  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'starlight-images-'));
  });
  afterEach(() => rmSync(path, { recursive: true, force: true }));
  const blob = (digest: string) => readFileSync(join(path, 'blobs', digest.replace(':', '/')));

  for (const [name, source] of SOURCES) {
    it(`makes documents that parse, with right digests and sizes (${name})`, () => {
      const [image] = makeLayout(path, [source]).images;
      assert.ok(image !== undefined);
      const manifest = parseManifest(blob(image.manifest.digest));
      const config = parseImageConfig(blob(manifest.config.digest));
      for (const descriptor of [image.manifest, manifest.config, ...manifest.layers]) {
        assert.equal(digestOf(blob(descriptor.digest)), descriptor.digest);
        assert.equal(blob(descriptor.digest).byteLength, descriptor.size);
      }
      assert.deepEqual(
        config.rootfs.diff_ids,
        image.layers.map((layer) => digestOf(layer.tar)),
      );
      assert.ok(manifest.layers.every((layer) => layerCompression(layer.mediaType) !== undefined));
    });
  }

  for (const [name, source] of SOURCES.filter(([, { docker }]) => docker !== true)) {
    it(`makes a layout that skopeo copies (${name})`, () => {
      makeLayout(path, [source]);
      const copy = join(path, 'copy');
      execFileSync('skopeo', ['--insecure-policy', 'copy', '-q', `oci:${path}:t`, `oci:${copy}:t`]);
      assert.equal(parseIndex(readFileSync(join(copy, 'index.json'))).manifests.length, 1);
    });
  }

  it('gives the same digests for the same sources', () => {
    const [first, second] = [
      makeLayout(path, [{ tag: 't', layers: LAYERS }]),
      makeLayout(path, [{ tag: 't', layers: LAYERS }]),
    ];
    assert.deepEqual(first.tags, second.tags);
  });

  it('makes an index of the platforms of one tag', () => {
    const made = makeLayout(path, [
      { tag: 't', layers: LAYERS },
      { tag: 't', layers: LAYERS, platform: { os: 'linux', architecture: 'arm64' } },
      { tag: 'u', layers: [] },
    ]);
    const entry = made.tags.get('t');
    assert.ok(entry !== undefined && isIndexType(entry.mediaType));
    const platforms = parseIndex(blob(entry.digest)).manifests.map((m) => m.platform?.architecture);
    assert.deepEqual(platforms, ['amd64', 'arm64']);
    assert.equal(parseIndex(readFileSync(join(path, 'index.json'))).manifests.length, 2);
    assert.equal(digestHex(entry.digest).length, 64);
  });

  it('refuses two images of one platform under one tag', () => {
    const source = { tag: 't', layers: LAYERS };
    assert.throws(() => makeLayout(path, [source, source]), RangeError);
  });
});
