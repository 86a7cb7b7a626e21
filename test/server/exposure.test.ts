import assert from 'node:assert/strict';
import { loadConfig } from '../../schemas/config/load.ts';
import { checkServerConfig, ENV_PREFIX, ServerConfigSchema } from '../../server/config.ts';
import { exposures } from '../../server/exposure.ts';

function exposuresOf(...argv: readonly string[]): string[] {
  const loaded = loadConfig({
    ...{ name: 'starlight-proxy', envPrefix: ENV_PREFIX, schema: ServerConfigSchema, argv, env: {} },
    ...{ readFile: () => '', check: checkServerConfig },
  });
  assert.ok(loaded.kind === 'config', JSON.stringify(loaded));
  return exposures(loaded.value);
}

const ALL = ['--listen-host', '0.0.0.0'] as const;
const USERS = ['--access-htpasswd-file', '/users'] as const;
const TLS = ['--tls-cert-file', '/cert', '--tls-key-file', '/key'] as const;
const OPEN = '[{"repositories":"drop/**","users":"anonymous","allow":["pull","push"]}]';

describe('exposures()', () => {
  const CASES: readonly (readonly [what: string, argv: readonly string[], warnings: readonly RegExp[]])[] = [
    ['nothing on loopback', [], []],
    ['nothing on its IPv6 address', ['--listen-host', '::1'], []],
    ['nothing with TLS and users', [...ALL, ...USERS, ...TLS], []],
    ['open repositories and plain HTTP', ALL, [/plain HTTP.*contents/, /everybody.*read, write and delete/]],
    ['the same on one address', ['--listen-host', '192.0.2.1'], [/plain HTTP/, /everybody/]],
    ['the same on all of IPv6', ['--listen-host', '::'], [/plain HTTP/, /everybody/]],
    ['open repositories with TLS', [...ALL, ...TLS], [/everybody/]],
    ['passwords over plain HTTP', [...ALL, ...USERS], [/passwords of users can be read/]],
    ['plain HTTP before an upstream', [...ALL, '--upstream-url', 'https://r.test'], [/plain HTTP/]],
    [
      'credentials of its own at an upstream',
      [
        ...[...ALL, ...TLS, '--upstream-url', 'https://r.test'],
        ...['--upstream-username', 'robot', '--upstream-password-file', '/p'],
      ],
      [/may do at the upstream r\.test what/],
    ],
    ['a rule that lets everybody push', [...ALL, ...TLS, '--access-rules', OPEN], [/change drop\/\*\*/]],
  ];
  for (const [what, argv, warnings] of CASES) {
    it(`tells of ${what}`, () => {
      const told = exposuresOf(...argv);
      assert.equal(told.length, warnings.length, told.join('\n'));
      for (const [row, warning] of warnings.entries()) assert.match(told[row] ?? '', warning);
    });
  }
});
