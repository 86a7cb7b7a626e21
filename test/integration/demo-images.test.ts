import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { before, describe, it } from 'mocha';
import { ANNOTATION } from '../../schemas/oci/annotations.ts';
import { type Digest, Digester } from '../../schemas/oci/digest.ts';
import { parseImageConfig, parseIndex, parseManifest } from '../../schemas/oci/types.ts';
import { type DemoImages, demoImages } from '../../scripts/demo/images.ts';

const BUILD_LIMIT_MS = 600_000;

describe('demo images', () => {
  let images: DemoImages;
  before(async function () {
    this.timeout(BUILD_LIMIT_MS);
    images = await demoImages(AbortSignal.timeout(BUILD_LIMIT_MS));
  });
  const path = (digest: Digest) => join(images.layout, 'blobs', digest.replace(':', '/'));
  const manifestOf = (tag: 'old' | 'new') => {
    const { manifests } = parseIndex(readFileSync(join(images.layout, 'index.json')));
    const entry = manifests.find(({ annotations }) => annotations?.[ANNOTATION.refName] === tag);
    assert.ok(entry !== undefined);
    return parseManifest(readFileSync(path(entry.digest)));
  };

  for (const tag of ['old', 'new'] as const) {
    it(`${tag}: every digest, diffID and size is right`, async () => {
      const manifest = manifestOf(tag);
      const config = parseImageConfig(readFileSync(path(manifest.config.digest)));
      assert.equal(config.rootfs.diff_ids.length, manifest.layers.length);
      for (const [index, layer] of manifest.layers.entries()) {
        const [outer, inner] = [new Digester(), new Digester()];
        for await (const chunk of createReadStream(path(layer.digest))) outer.update(chunk);
        for await (const chunk of createReadStream(path(layer.digest)).pipe(createGunzip()))
          inner.update(chunk);
        assert.equal(outer.digest(), layer.digest);
        assert.equal(inner.digest(), config.rootfs.diff_ids[index]);
        assert.equal(statSync(path(layer.digest)).size, layer.size);
      }
    });
  }

  it('differ in their redis, the new one being newer', () => {
    const versions = [images.old.version, 'lt', images.new.version];
    execFileSync('dpkg', ['--compare-versions', ...versions]); // throws when it is not so
    assert.notDeepEqual(manifestOf('old').layers, manifestOf('new').layers);
  });

  it('hold a redis-server, and in the base a whole Debian', () => {
    const list = (index: number) => {
      const digest = manifestOf('new').layers.at(index)?.digest;
      assert.ok(digest !== undefined);
      return execFileSync('tar', ['-tzf', path(digest)], { encoding: 'utf8', maxBuffer: 1 << 24 }).split(
        '\n',
      );
    };
    const base = list(0);
    assert.ok(base.length > 2000 && base.includes('usr/bin/bash') !== base.includes('bin/bash'));
    const layers = manifestOf('new').layers.flatMap((_, index) => list(index));
    assert.ok(layers.includes('usr/bin/redis-server') && layers.includes('usr/bin/redis-check-rdb'));
  });
});
