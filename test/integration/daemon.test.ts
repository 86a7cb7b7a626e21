import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { chainIds } from '../../schemas/oci/chain-id.ts';
import { convertedLayout, shellLayer } from '../support/converted-layout.ts';
import { Stack } from '../support/stack.ts';
import { directory, file, type TarEntry } from '../support/tar.ts';
import type { MadeImage } from '../extensions/starlight/made-image.ts';

const BIG_BYTES = 6 * 1024 * 1024;

describe('starlight-daemon, with a real proxy, containerd and runc', function () {
  this.timeout(120_000);
  let stack: Stack;
  let home: string;
  let image: MadeImage;
  let reference: string;

  const extra = (): TarEntry[] => [
    directory('data'),
    file('data/hello', 'hello from starlight\n'),
    file('data/big', randomBytes(BIG_BYTES)),
    ...Array.from({ length: 200 }, (_, row) => file(`data/file-${row}`, `content ${row}\n`)),
  ];

  before(async () => {
    stack = await Stack.start();
    home = await mkdtemp('/tmp/sl-layout-');
    image = await convertedLayout(join(home, 'a'), 'v1', [shellLayer(), extra()]);
    reference = await stack.push(join(home, 'a'), 'v1', 'test/app:v1');
    await stack.mustCli('notify', '--proxy', `http://${stack.registry}`, reference);
  });

  after(async () => {
    await stack?.[Symbol.asyncDispose]();
    if (home !== undefined) await rm(home, { recursive: true, force: true });
  });

  const runs = async (id: string, name: string, command: string): Promise<string> =>
    await stack.containerd.ctr(
      'run',
      '--rm',
      '--snapshotter',
      'starlight',
      name,
      id,
      '/bin/sh',
      '-c',
      command,
    );

  it('pulls, and a plain ctr run works', async () => {
    await stack.mustCli('pull', '-n', 'test', '--wait', reference);
    assert.equal(await runs('one', reference, 'cat /data/hello'), 'hello from starlight\n');
    assert.equal(chainIds(image.layers.map((layer) => layer.diffId)).length, 2);
  });
});
