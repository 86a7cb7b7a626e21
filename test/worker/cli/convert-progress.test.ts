import assert from 'node:assert/strict';
import { convert } from '../../../schemas/image/convert.ts';
import { Endpoints } from '../../../schemas/image/open-image.ts';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConvertProgress } from '../../../worker/cli/convert-progress.ts';
import { makeLayout } from '../../support/images.ts';
import { file } from '../../support/tar.ts';

describe('ConvertProgress', () => {
  let scratch = '';
  before(() => {
    scratch = mkdtempSync(join(tmpdir(), 'starlight-progress-'));
  });
  after(() => rmSync(scratch, { recursive: true }));

  /** What was drawn while an index was converted whose images have `layers` layers each, one of them shared. */
  async function drawn(layers: number): Promise<{ percent: number; total: string; rest: string }[]> {
    const own = (name: string) =>
      Array.from({ length: layers - 1 }, (_, row) => [
        file(`${name}${row}`, `${name} ${row}`.repeat(20_000)),
      ]);
    const shared = [file('shared', 'shared')];
    makeLayout(join(scratch, 'source'), [
      { tag: 'v1', layers: [...own('a'), shared], platform: { os: 'linux', architecture: 'amd64' } },
      { tag: 'v1', layers: [shared, ...own('b')], platform: { os: 'linux', architecture: 'arm64' } },
    ]);
    const lines: string[] = [];
    let now = 0;
    const progress = new ConvertProgress(
      {
        ...{ json: false, interactive: true, columns: 200 },
        out: () => undefined,
        err: (text) => void lines.push(text),
      },
      () => (now += 1000),
    );
    await using endpoints = new Endpoints({
      source: `oci:${scratch}/source:v1`,
      destination: `oci:${scratch}/target:v1`,
      credentials: async () => undefined,
      insecureSource: false,
      insecureDestination: false,
      tls: {},
    });
    const signal = new AbortController().signal;
    await convert(endpoints.source, endpoints.sink, { listener: progress }, signal);
    return lines.map((line) => {
      const match = /\] +(\d+)% {2}\S+ \S+ of (\S+ \S+), (.*)$/.exec(line);
      assert.ok(match !== null, line);
      const [, percent, total = '', rest = ''] = match;
      return { percent: Number(percent), total, rest };
    });
  }

  it('knows from the start how much there is of each image, and never goes back within it', async () => {
    const steps = await drawn(5);
    for (const platform of ['linux/amd64', 'linux/arm64']) {
      const own = steps.filter(({ rest }) => rest.endsWith(platform));
      assert.ok(own.length >= 4, `${own.length} steps`);
      assert.equal(new Set(own.map(({ total }) => total)).size, 1);
      for (const { rest } of own) assert.match(rest, /^\d of 5 layers, /);
      const percents = own.map(({ percent }) => percent);
      assert.deepEqual(
        percents,
        percents.toSorted((a, b) => a - b),
      );
      assert.equal(percents.at(-1), 100);
    }
  });
});
