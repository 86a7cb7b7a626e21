import assert from 'node:assert/strict';
import { Value } from '@sinclair/typebox/value';
import { isOwnServer, type Namespace, UpstreamListSchema } from '../../../schemas/upstreams/upstream-list.ts';
import { upstreamList } from '../../../server/upstream/upstream-list.ts';
import type { UpstreamPlan } from '../../../server/upstream/upstream-plan.ts';
import { upstreamConfig } from '../../support/upstream-config.ts';

const plan = (hosts: readonly string[] | 'any', url?: string, more: object = {}): UpstreamPlan => ({
  ...{ key: 'one', name: 'one', route: { hosts, isDefault: false, ...more } },
  config:
    url === undefined
      ? undefined
      : upstreamConfig(url, { username: 'robot', passwordFile: '/etc/secret', caFile: '/etc/ca.pem' }),
});

describe('upstreamList()', () => {
  const CASES: readonly (readonly [title: string, plan: UpstreamPlan, namespaces: readonly Namespace[]])[] = [
    [
      'the Docker Hub at its own name',
      plan(['docker.io'], 'https://registry-1.docker.io'),
      [{ host: 'docker.io', server: 'https://registry-1.docker.io' }],
    ],
    [
      'the Docker Hub by way of another registry',
      plan(['docker.io'], 'https://cache.example'),
      [{ host: 'docker.io', server: 'https://registry-1.docker.io' }],
    ],
    [
      'an upstream at the host that it is known by, as it is reached',
      plan(['lan.example:5000', 'ghcr.io'], 'http://lan.example:5000/'),
      [
        { host: 'lan.example:5000', server: 'http://lan.example:5000' },
        { host: 'ghcr.io', server: 'https://ghcr.io' },
      ],
    ],
    [
      'an upstream on another port of the same host',
      plan(['lan.example:5000'], 'http://lan.example:5001'),
      [{ host: 'lan.example:5000', server: 'https://lan.example:5000' }],
    ],
    ['an upstream by its prefix alone', plan([], 'https://lan.example'), []],
    [
      'an upstream for every host by its own',
      plan('any', 'http://127.0.0.1:5000'),
      [{ host: '127.0.0.1:5000', server: 'http://127.0.0.1:5000' }],
    ],
    ['the embedded registry', plan('any'), []],
    [
      'the embedded registry under a name',
      plan(['own.example']),
      [{ host: 'own.example', server: 'https://own.example' }],
    ],
  ];
  for (const [title, one, namespaces] of CASES) {
    it(`lists ${title}`, () => {
      const list = upstreamList([one]);
      assert.deepEqual(list.upstreams[0]?.namespaces, namespaces);
      assert.ok(Value.Check(UpstreamListSchema, list));
      assert.ok(namespaces.every(isOwnServer));
    });
  }

  it('tells prefix, default and no more: no URL behind a host, no login, no file', () => {
    const list = upstreamList([plan(['ghcr.io'], 'https://inner.lan', { prefix: 'gh', isDefault: true })]);
    assert.deepEqual(list.upstreams, [
      {
        name: 'one',
        prefix: 'gh',
        default: true,
        anyHost: false,
        namespaces: [{ host: 'ghcr.io', server: 'https://ghcr.io' }],
      },
    ]);
  });
});
