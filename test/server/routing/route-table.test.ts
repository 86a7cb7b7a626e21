import assert from 'node:assert/strict';
import { repositoryName } from '../../../server/registry/repository-name.ts';
import { type Route, RouteTable } from '../../../server/routing/route-table.ts';

const target = (id: string, route: Partial<Route>) => ({
  id,
  route: { hosts: [], isDefault: false, ...route },
});
const SEVERAL = [
  target('hub', { hosts: ['docker.io'], prefix: 'hub' }),
  target('lan', { hosts: ['lan.example:5000'], isDefault: true }),
  target('deep', { prefix: 'hub/deep' }),
];
const NO_DEFAULT = [target('hub', { hosts: ['docker.io'], prefix: 'hub' })];
const ANY = [target('one', { hosts: 'any', isDefault: true })];
const HOST_AND_ANY = [
  target('any', { hosts: 'any', isDefault: true }),
  target('hub', { hosts: ['docker.io'] }),
];

describe('RouteTable', () => {
  const ROWS: readonly (readonly [typeof SEVERAL, string | undefined, string, string | undefined])[] = [
    [SEVERAL, 'docker.io', 'library/redis', 'hub library/redis'],
    [SEVERAL, 'Docker.IO', 'library/redis', 'hub library/redis'],
    [SEVERAL, 'registry-1.docker.io', 'library/redis', 'hub library/redis'],
    [SEVERAL, 'lan.example:5000', 'a', 'lan a'],
    [SEVERAL, 'docker.io', 'hub/library/redis', 'hub hub/library/redis'],
    [SEVERAL, 'lan.example', 'a', undefined],
    [SEVERAL, 'lan.example:5001', 'a', undefined],
    [SEVERAL, 'ghcr.io', 'a', undefined],
    [SEVERAL, undefined, 'hub/library/redis', 'hub library/redis'],
    [SEVERAL, undefined, 'hub/deep/a', 'deep a'],
    [SEVERAL, undefined, 'hub/deeper/a', 'hub deeper/a'],
    [SEVERAL, undefined, 'hub/deep', 'hub deep'],
    [SEVERAL, undefined, 'hub', 'lan hub'],
    [SEVERAL, undefined, 'hubs/a', 'lan hubs/a'],
    [SEVERAL, undefined, 'a/hub/b', 'lan a/hub/b'],
    [NO_DEFAULT, undefined, 'a/b', undefined],
    [NO_DEFAULT, undefined, 'hub/a', 'hub a'],
    [ANY, undefined, 'a', 'one a'],
    [ANY, 'whatever.example', 'a', 'one a'],
    [HOST_AND_ANY, 'docker.io', 'a', 'hub a'],
    [HOST_AND_ANY, 'ghcr.io', 'a', 'any a'],
  ];
  for (const [targets, namespace, text, expected] of ROWS) {
    const among = targets.map(({ id }) => id).join(', ');
    it(`of ${among} leads ${text} at ${namespace ?? 'no host'} to ${expected ?? 'none'}`, () => {
      const name = repositoryName(text);
      assert.ok(name !== undefined);
      const choice = new RouteTable(targets).choose(namespace, name);
      assert.equal(choice && `${choice.target.id} ${choice.name}`, expected);
      if (choice !== undefined) assert.equal(choice.prefix + choice.name, text);
    });
  }

  const OWN: readonly (readonly [string | null, string | undefined, string | undefined])[] = [
    [null, 'proxy.example', undefined],
    ['docker.io', 'proxy.example', 'docker.io'],
    ['proxy.example:8090', 'Proxy.Example:8090', undefined],
    ['proxy.example', 'proxy.example:8090', 'proxy.example'],
    ['Starlight.example', '127.0.0.1:1', undefined],
    ['docker.io', undefined, 'docker.io'],
  ];
  for (const [asked, host, expected] of OWN) {
    it(`takes ns=${asked} sent to ${host} for ${expected ?? 'no host'}`, () => {
      assert.equal(new RouteTable(SEVERAL, ['starlight.example']).namespace(asked, host), expected);
    });
  }
});
