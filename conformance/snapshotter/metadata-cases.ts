import assert from 'node:assert/strict';
import type { LabelsMessage } from '../../schemas/proto/snapshots.ts';
import type { Bench } from './bench.ts';
import { failsWith, type Info } from './client.ts';

const GC_ROOT = 'containerd.io/gc.root';

function nowNs(): bigint {
  return Temporal.Now.instant().epochNanoseconds;
}

type Made = Pick<Info, 'name' | 'kind' | 'parent'>;

/** Two committed snapshots, and actives and views with and without a parent; all empty. */
async function makeBase(bench: Bench): Promise<readonly Made[]> {
  const key = (name: string): string => bench.key(name);
  await bench.prepare(key('c1-a'));
  await bench.commit(key('c1'), key('c1-a'));
  await bench.prepare(key('c2-a'), key('c1'));
  await bench.commit(key('c2'), key('c2-a'));
  await bench.prepare(key('a1'), key('c2'));
  await bench.prepare(key('a2'));
  await bench.view(key('v1'), key('c2'));
  await bench.view(key('v2'));
  return [
    { name: key('c1'), kind: 'COMMITTED', parent: '' },
    { name: key('c2'), kind: 'COMMITTED', parent: key('c1') },
    { name: key('a1'), kind: 'ACTIVE', parent: key('c2') },
    { name: key('a2'), kind: 'ACTIVE', parent: '' },
    { name: key('v1'), kind: 'VIEW', parent: key('c2') },
    { name: key('v2'), kind: 'VIEW', parent: '' },
  ];
}

/** Labels change whole or one by one, times follow, and nothing else can be changed. */
export async function update(bench: Bench): Promise<void> {
  const { client } = bench;
  const before = nowNs();
  const made = await makeBase(bench);
  const after = nowNs();
  const root: LabelsMessage = { [GC_ROOT]: bench.prefix };
  for (const expected of made) {
    const info = await client.stat(expected.name);
    assert.deepEqual(identity(info), expected);
    assert.ok(info.createdNs >= before && info.createdNs <= after, `${expected.name}: time of creation`);
    assert.equal(info.updatedNs, info.createdNs);

    const start = nowNs();
    const all = { l1: 'v1', l2: 'v2', l3: 'v3', ...root };
    const first = await client.update(expected.name, { labels: all, parent: 'doesnotexist' });
    const end = nowNs();
    assert.deepEqual(identity(first), expected);
    assert.deepEqual(first.labels, all);
    assert.equal(first.createdNs, info.createdNs);
    assert.ok(first.updatedNs >= start && first.updatedNs <= end, `${expected.name}: time of update`);

    // l2 is named and absent, which removes it; l4 is present and not named, which leaves it out
    const some = { l1: 'updated', l4: 'v4' };
    const second = await client.update(expected.name, { labels: some }, ['labels.l1', 'labels.l2']);
    assert.deepEqual(second.labels, { l1: 'updated', l3: 'v3', ...root });

    const third = await client.update(expected.name, { labels: { l4: 'v4', ...root } }, ['labels']);
    assert.deepEqual(third.labels, { l4: 'v4', ...root });

    await assert.rejects(
      client.update(expected.name, { labels: third.labels, parent: 'doesnotexist' }, ['parent']),
      failsWith('INVALID_ARGUMENT'),
    );
    assert.deepEqual(await client.stat(expected.name), third);
  }
}

function identity({ name, kind, parent }: Info): Made {
  return { name, kind, parent };
}

/** Every form of filter that containerd and its clients use. */
export async function walk(bench: Bench): Promise<void> {
  const { client, labels, filter } = bench;
  const key = (name: string): string => bench.key(name);
  // the label is this case's own: a running snapshotter has other snapshots
  const label = `l${bench.prefix.replaceAll('-', '')}`;
  const labelled = (value: string): LabelsMessage => ({ ...labels, [label]: value });
  await bench.prepare(key('a-np'));
  await bench.prepare(key('p-tmp'));
  await bench.commit(key('p'), key('p-tmp'));
  await bench.prepare(key('a'), key('p'));
  await bench.view(key('v'), key('p'));
  await bench.prepare(key('p-wl-tmp'));
  await client.commit(key('p-wl'), key('p-wl-tmp'), labelled('1'));
  await client.prepare(key('a-wl'), key('p-wl'), labelled('2'));
  await client.view(key('v-wl'), key('p-wl'), labelled('3'));
  await client.prepare(key('a-np-wl'), '', labelled('2'));

  const rows: readonly { readonly filters: readonly string[]; readonly matches: readonly string[] }[] = [
    { filters: [filter], matches: ['a-np', 'p', 'a', 'v', 'p-wl', 'a-wl', 'v-wl', 'a-np-wl'] },
    { filters: [`kind==active,${filter}`], matches: ['a-np', 'a', 'a-wl', 'a-np-wl'] },
    { filters: [`kind==view,${filter}`], matches: ['v', 'v-wl'] },
    { filters: [`kind==committed,${filter}`], matches: ['p', 'p-wl'] },
    { filters: [`name==${key('p')}`, `name==${key('a-np-wl')}`], matches: ['p', 'a-np-wl'] },
    { filters: [`name==${key('a-wl')},labels.${label}`], matches: ['a-wl'] },
    { filters: [`parent==${key('p')}`], matches: ['a', 'v'] },
    { filters: [`parent!="",${filter}`], matches: ['a', 'v', 'a-wl', 'v-wl'] },
    { filters: [`labels.${label}`], matches: ['p-wl', 'a-wl', 'v-wl', 'a-np-wl'] },
    { filters: [`labels.${label}==2`], matches: ['a-wl', 'a-np-wl'] },
  ];
  for (const { filters, matches } of rows) {
    const names = (await bench.walk(filters)).map((info) => info.name);
    assert.deepEqual(names.sort(), matches.map(key).sort(), filters.join(' or '));
  }
}

/** Stat answers while a List is under way, and says the same. */
export async function statInWalk(bench: Bench): Promise<void> {
  const made = await makeBase(bench);
  const seen: string[] = [];
  for await (const info of bench.client.walk([])) {
    if (!info.name.startsWith(bench.prefix)) continue;
    assert.deepEqual(await bench.client.stat(info.name), info);
    seen.push(info.name);
  }
  assert.deepEqual(seen.sort(), made.map((each) => each.name).sort());
}
