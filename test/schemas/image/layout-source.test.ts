import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { LayoutSource } from '../../../schemas/image/layout-source.ts';
import { parseManifest } from '../../../schemas/oci/types.ts';
import { makeLayout } from '../../support/images.ts';
import { file } from '../../support/tar.ts';

describe('LayoutSource', () => {
  let root = '';
  before(() => {
    root = mkdtempSync(join(tmpdir(), 'starlight-layout-source-'));
    makeLayout(join(root, 'layout'), [{ tag: 'v1', layers: [[file('a', 'a')]] }]);
  });
  after(() => rmSync(root, { recursive: true }));

  const WHEN = ['before the blob is asked for', 'before it is read'] as const;
  for (const when of WHEN) {
    it(`an abort ${when} is told to whoever reads it, and to nobody else`, async () => {
      const source = new LayoutSource(join(root, 'layout'), 'v1');
      const { bytes } = await source.manifest(new AbortController().signal);
      const abort = new AbortController();
      if (when === 'before the blob is asked for') abort.abort();
      const blob = await source.blob(parseManifest(bytes).config, abort.signal);
      abort.abort();
      await turn(); // an error that nobody hears would end the test by now
      await assert.rejects(Array.fromAsync(blob), { name: 'AbortError' });
    });
  }
});
