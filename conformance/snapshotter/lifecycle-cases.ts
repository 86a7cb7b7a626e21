import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bench } from './bench.ts';
import { apply, directory, file, remove } from './change.ts';
import { failsWith } from './client.ts';
import { assertSameTree } from './tree.ts';

/** Prepare, mount, commit, prepare again, view, and remove from the top down. */
export async function basic(bench: Bench): Promise<void> {
  const { client } = bench;
  const first = [
    file('foo', 'foo\n', 0o777),
    directory('a', 0o755),
    directory('a/b', 0o755),
    directory('a/b/c', 0o755),
  ];
  const second = [file('bar', 'bar\n', 0o777), file('foo', 'bar\n', 0o777), remove('a/b')];
  const flat = await bench.flat('flat');

  const preparing = bench.key('preparing');
  const mounts = await bench.prepare(preparing);
  assert.notEqual(mounts.length, 0);
  assert.deepEqual(await client.mounts(preparing), mounts);
  await bench.mounted(mounts, (root) => apply(root, first));
  await apply(flat, first);
  const committed = bench.key('committed');
  await bench.commit(committed, preparing);
  const info = await client.stat(committed);
  assert.equal(info.parent, '');
  assert.equal(info.kind, 'COMMITTED');
  await assert.rejects(client.stat(preparing), failsWith('NOT_FOUND'));

  const next = bench.key('nextlayer');
  await bench.mounted(await bench.prepare(next, committed), async (root) => {
    await assertSameTree(flat, root, 'the committed layer');
    await apply(root, second);
  });
  await apply(flat, second);
  const active = await client.stat(next);
  assert.equal(active.parent, committed);
  assert.equal(active.kind, 'ACTIVE');
  const nextCommitted = bench.key('committed-next');
  await bench.commit(nextCommitted, next);
  const nextInfo = await client.stat(nextCommitted);
  assert.equal(nextInfo.parent, committed);
  assert.equal(nextInfo.kind, 'COMMITTED');
  await assert.rejects(client.stat(next), failsWith('NOT_FOUND'));

  const walked = new Map((await bench.walk([])).map((each) => [each.name, each]));
  assert.deepEqual(walked.get(committed), info);
  assert.deepEqual(walked.get(nextCommitted), nextInfo);

  const view = bench.key('nextnextlayer');
  await bench.mounted(await bench.view(view, nextCommitted), (root) =>
    assertSameTree(flat, root, 'both layers'),
  );
  await client.remove(view);
  await assert.rejects(client.remove(committed), (error: Error) => {
    assert.match(error.message, /remove/);
    return failsWith('FAILED_PRECONDITION')(error);
  });
  await client.remove(nextCommitted);
  await client.remove(committed);
}

export async function statActive(bench: Bench): Promise<void> {
  const key = bench.key('preparing');
  await bench.mounted(await bench.prepare(key), (root) => writeFile(join(root, 'foo'), 'foo\n'));
  const { name, kind, parent } = await bench.client.stat(key);
  assert.deepEqual({ name, kind, parent }, { name: key, kind: 'ACTIVE', parent: '' });
}

export async function statCommitted(bench: Bench): Promise<void> {
  const committed = await bench.layer('committed', '', [file('foo', 'foo\n', 0o777)]);
  const { name, kind, parent } = await bench.client.stat(committed);
  assert.deepEqual({ name, kind, parent }, { name: committed, kind: 'COMMITTED', parent: '' });
}

/** A snapshot's parent is the one below it, not the lowest. */
export async function transitivity(bench: Bench): Promise<void> {
  const a = await bench.layer('snapA', '', [file('foo', 'foo\n', 0o777)]);
  const b = await bench.layer('snapB', a, [file('foo', 'foo bar\n', 0o777)]);
  assert.equal((await bench.client.stat(a)).parent, '');
  const { parent } = await bench.client.stat(b);
  assert.equal(parent, a);
  assert.equal((await bench.client.stat(parent)).parent, '');
}

/** A key serves once, whichever way it was used. */
export async function prepareViewFailing(bench: Bench): Promise<void> {
  const parent = await bench.layer('snapA', '', []);
  const layer = bench.key('newlayer');
  await bench.prepare(layer, parent);
  await assert.rejects(bench.view(layer, parent), failsWith('ALREADY_EXISTS'));
  const prepared = bench.key('prepLayer');
  await bench.prepare(prepared, parent);
  await assert.rejects(bench.prepare(prepared, parent), failsWith('ALREADY_EXISTS'));
  const viewed = bench.key('viewLayer');
  await bench.view(viewed, parent);
  await assert.rejects(bench.view(viewed, parent), failsWith('ALREADY_EXISTS'));
}

/** Names are free again after Remove, for any kind. */
export async function removal(bench: Bench): Promise<void> {
  const { client } = bench;
  const committed = bench.key('committed-1');
  const reuse = bench.key('reuse-1');
  await bench.prepare(bench.key('committed-a'));
  await bench.commit(committed, bench.key('committed-a'));
  await bench.prepare(reuse, committed);
  await client.remove(reuse);
  await bench.view(reuse, committed);
  await client.remove(reuse);
  await bench.prepare(reuse);
  await client.remove(committed);
  await bench.commit(committed, reuse);
}

export async function removeIntermediate(bench: Bench): Promise<void> {
  const { client } = bench;
  const base = await bench.layer('base', '', []);
  const intermediate = await bench.layer('intermediate', base, []);
  const top = bench.key('toplayer');
  await bench.prepare(top, intermediate);
  await assert.rejects(client.remove(intermediate), failsWith('FAILED_PRECONDITION'));
  await client.remove(top);
  await client.remove(intermediate);
  await client.remove(base);
}

/** Writes are refused by the kernel, whatever the options say. https://github.com/containerd/containerd/issues/1368 */
export async function viewReadonly(bench: Bench): Promise<void> {
  const committed = await bench.layer('committed', '', []);
  const view = bench.key('view');
  await bench.mounted(await bench.view(view, committed), async (root) => {
    await assert.rejects(writeFile(join(root, 'testfile'), 'testcontent'), { code: 'EROFS' });
  });
  await bench.client.remove(view);
  await bench.client.remove(committed);
}

/** Over a socket the snapshotter is closed by the client; it does no harm twice, and others are served on. */
export async function closeTwice(bench: Bench, connect: () => Promise<Bench['client']>): Promise<void> {
  const client = await connect();
  const key = bench.key('closeTwice');
  await client.prepare(`${key}-prepare`, '', bench.labels);
  await client.commit(key, `${key}-prepare`, bench.labels);
  await client.remove(key);
  client.close();
  client.close();
  await assert.rejects(bench.client.stat(key), failsWith('NOT_FOUND'));
}

export async function rootPermission(bench: Bench): Promise<void> {
  await bench.mounted(await bench.prepare(bench.key('preparing')), async (root) => {
    assert.equal((await stat(root)).mode & 0o777, 0o755);
  });
}
