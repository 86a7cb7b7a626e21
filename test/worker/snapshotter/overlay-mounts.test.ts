import assert from 'node:assert/strict';
import { type MountPlan, mountsOf } from '../../../worker/snapshotter/overlay-mounts.ts';
import type { Mount } from '../../../worker/snapshotter/snapshot.ts';

const OWN = { upper: '/s/9/fs', work: '/s/9/work', hasIndex: true, dataLowers: [], metacopy: false } as const;

function overlay(...options: readonly string[]): Mount[] {
  return [{ type: 'overlay', source: 'overlay', options }];
}

function bind(source: string, access: string): Mount[] {
  return [{ type: 'bind', source, options: [access, 'rbind'] }];
}

describe('mountsOf()', () => {
  const DIRECTORIES = ['workdir=/s/9/work', 'upperdir=/s/9/fs'];
  const ROWS: readonly (readonly [title: string, plan: MountPlan, mounts: readonly Mount[]])[] = [
    ['active without parents', { ...OWN, kind: 'active', lowers: [] }, bind('/s/9/fs', 'rw')],
    ['view without parents', { ...OWN, kind: 'view', lowers: [] }, bind('/s/9/fs', 'ro')],
    ['view of one tree', { ...OWN, kind: 'view', lowers: ['/s/1/fs'] }, bind('/s/1/fs', 'ro')],
    [
      'active over one tree',
      { ...OWN, kind: 'active', lowers: ['/s/1/fs'] },
      overlay('index=off', ...DIRECTORIES, 'lowerdir=/s/1/fs'),
    ],
    [
      'active over two, the nearest first',
      { ...OWN, kind: 'active', lowers: ['/s/2/fs', '/s/1/fs'] },
      overlay('index=off', ...DIRECTORIES, 'lowerdir=/s/2/fs:/s/1/fs'),
    ],
    [
      'view of two',
      { ...OWN, kind: 'view', lowers: ['/s/2/fs', '/s/1/fs'] },
      overlay('index=off', 'lowerdir=/s/2/fs:/s/1/fs'),
    ],
    [
      'a kernel without index',
      { ...OWN, hasIndex: false, kind: 'view', lowers: ['/s/2/fs', '/s/1/fs'] },
      overlay('lowerdir=/s/2/fs:/s/1/fs'),
    ],
    [
      'active over a complete form',
      { ...OWN, kind: 'active', lowers: ['/s/2/fs', '/c/1'], dataLowers: ['/store'] },
      overlay('index=off', ...DIRECTORIES, 'lowerdir=/s/2/fs:/c/1::/store'),
    ],
    [
      'view of a complete form alone',
      { ...OWN, kind: 'view', lowers: ['/c/1'], dataLowers: ['/store'] },
      overlay('index=off', 'lowerdir=/c/1::/store'),
    ],
    [
      'a kernel that wants to be told of metadata without contents',
      { ...OWN, kind: 'active', lowers: ['/c/1'], dataLowers: ['/store'], metacopy: true },
      overlay('index=off', ...DIRECTORIES, 'metacopy=on', 'redirect_dir=on', 'lowerdir=/c/1::/store'),
    ],
  ];
  for (const [title, plan, mounts] of ROWS) it(title, () => assert.deepEqual(mountsOf(plan), mounts));
});
