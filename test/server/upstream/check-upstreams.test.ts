import assert from 'node:assert/strict';
import { loadConfig } from '../../../schemas/config/load.ts';
import {
  checkServerConfig,
  ENV_PREFIX,
  type ServerConfig,
  ServerConfigSchema,
} from '../../../server/config.ts';
import { upstreamPlans } from '../../../server/upstream/upstream-plan.ts';

type Entry = Readonly<Record<string, unknown>>;

function load(file: object, env: Readonly<Record<string, string>> = {}) {
  return loadConfig({
    name: 'starlight-proxy',
    envPrefix: ENV_PREFIX,
    schema: ServerConfigSchema,
    argv: ['--config', '/c'],
    env,
    readFile: () => JSON.stringify(file),
    check: checkServerConfig,
  });
}

function good(file: object, env: Readonly<Record<string, string>> = {}): ServerConfig {
  const loaded = load(file, env);
  if (loaded.kind !== 'config') assert.fail(JSON.stringify(loaded));
  return loaded.value;
}

const HUB = { name: 'hub', url: 'https://registry-1.docker.io', hosts: ['docker.io'] };
const LAN = { name: 'lan', url: 'https://lan.example:5000', prefix: 'lan', default: true };
const LOCAL = { name: 'local', embedded: true, prefix: 'local' };

describe('upstreams in the configuration', () => {
  it('are taken with the defaults of each', () => {
    const { upstreams } = good({ upstreams: [HUB, { ...LAN, connections: 3 }, LOCAL] });
    assert.deepEqual(
      upstreams.map(({ name, connections, hosts, headerTimeoutMs }) => [
        name,
        connections,
        hosts,
        headerTimeoutMs,
      ]),
      [
        ['hub', 128, ['docker.io'], 20_000],
        ['lan', 3, [], 20_000],
        ['local', 128, [], 20_000],
      ],
    );
  });

  it('can come as JSON from the environment', () => {
    const { upstreams } = good({}, { STARLIGHT_PROXY_UPSTREAMS: JSON.stringify([HUB]) });
    assert.equal(upstreams[0]?.name, 'hub');
  });

  const PLANS: readonly (readonly [string, object, object])[] = [
    ['the embedded one where none is set', {}, [['', { hosts: 'any', isDefault: true }, undefined]]],
    [
      'the short form',
      { upstream: { url: 'https://r.example:1' } },
      [['r.example:1', { hosts: 'any', isDefault: true }, 'https://r.example:1']],
    ],
    [
      'the short form with a namespace',
      { upstream: { url: 'https://mirror.example', namespace: 'index.docker.io' } },
      [['index.docker.io', { hosts: ['docker.io'], isDefault: true }, 'https://mirror.example']],
    ],
    [
      'the list',
      { upstreams: [HUB, LAN, LOCAL] },
      [
        ['hub', { hosts: ['docker.io'], isDefault: false }, 'https://registry-1.docker.io'],
        ['lan', { hosts: [], isDefault: true, prefix: 'lan' }, 'https://lan.example:5000'],
        ['', { hosts: [], isDefault: false, prefix: 'local' }, undefined],
      ],
    ],
  ];
  for (const [title, file, expected] of PLANS) {
    it(`give plans for ${title}`, () => {
      assert.deepEqual(
        upstreamPlans(good(file)).map(({ key, route, config }) => [key, route, config?.url]),
        expected,
      );
    });
  }

  const change = (changes: Entry, base: Entry = HUB) => ({ upstreams: [{ ...base, ...changes }] });
  const HTTP = { url: 'http://lan.example:5000' };
  const GOOD: readonly (readonly [string, object])[] = [
    ['plain http to this machine', change({ url: 'http://127.0.0.1:5000' })],
    ['plain http to this machine by name', change({ url: 'http://localhost:5000' })],
    ['plain http elsewhere where that is allowed', change({ ...HTTP, plainHttp: true })],
    ['a prefix of several parts', change({ prefix: 'mirrors/hub' })],
    ['a client certificate', change({ clientCertFile: '/c', clientKeyFile: '/k' })],
    ['credentials of its own', change({ username: 'u', passwordFile: '/p' })],
    [
      'users of the embedded registry beside',
      {
        upstreams: [{ ...HUB, passCredentials: false }, LOCAL],
        access: { htpasswdFile: '/h' },
      },
    ],
    ['a rate below one', change({ requestsPerSecond: 0.5 })],
  ];
  for (const [title, file] of GOOD) it(`may have ${title}`, () => void good(file));

  const BAD: readonly (readonly [string, object, RegExp])[] = [
    ['no list', { upstreams: {} }, /^upstreams in \/c: expected a list of mappings/],
    ['an entry that is none', { upstreams: ['hub'] }, /^upstreams\[0\] in \/c: expected a mapping$/],
    [
      'no name',
      { upstreams: [{ url: 'https://x', default: true }] },
      /^upstreams\[0\]\.name in \/c: missing$/,
    ],
    [
      'a name with capitals',
      change({ name: 'Hub' }),
      /^upstreams\[0\]\.name in \/c: expected at most 63 lower-case letters, /,
    ],
    ['an unknown key', change({ secure: true }), /^upstreams\[0\]\.secure in \/c: unknown key$/],
    [
      'no url',
      { upstreams: [{ name: 'a', default: true }] },
      /^upstreams\[0\]\.url: missing; .*embedded: true/,
    ],
    ['a url and embedded', change({ embedded: true }), /^upstreams\[0\]: give it either/],
    [
      'nothing that chooses it',
      { upstreams: [{ name: 'a', url: 'https://x' }] },
      /is never chosen; give it hosts/,
    ],
    ['credentials in the url', change({ url: 'https://u:p@x' }), /^upstreams\[0\]\.url in \/c: expected/],
    [
      'a host with a scheme',
      change({ hosts: ['https://docker.io'] }),
      /^upstreams\[0\]\.hosts in \/c: expected/,
    ],
    ['a prefix that begins with a slash', change({ prefix: '/hub' }), /^upstreams\[0\]\.prefix in \/c/],
    ['a prefix like a host', change({ prefix: 'docker.io/a' }), /^upstreams\[0\]\.prefix in \/c/],
    ['a prefix in capitals', change({ prefix: 'Hub' }), /^upstreams\[0\]\.prefix in \/c/],
    [
      'plain http elsewhere',
      change(HTTP),
      /^upstreams\[0\]\.url: plain http to lan\.example:5000; use https, or set plainHttp/,
    ],
    [
      'no verification of plain http',
      change({ ...HTTP, plainHttp: true, insecureSkipVerify: true }),
      /has no effect/,
    ],
    [
      'certificates and no verification',
      change({ caFile: '/c', insecureSkipVerify: true }),
      /leave one of them out/,
    ],
    [
      'a certificate without its key',
      change({ clientCertFile: '/c' }),
      /^upstreams\[0\]\.clientKeyFile: missing, since/,
    ],
    [
      'a key without its certificate',
      change({ clientKeyFile: '/c' }),
      /^upstreams\[0\]\.clientCertFile: missing, since/,
    ],
    [
      'a name without a password',
      change({ username: 'u' }),
      /^upstreams\[0\]\.passwordFile: missing, since username/,
    ],
    [
      'a password without a name',
      change({ passwordFile: '/p' }),
      /^upstreams\[0\]\.username: missing, since/,
    ],
    [
      'a token and a name',
      change({ username: 'u', passwordFile: '/p', tokenFile: '/t' }),
      /^upstreams\[0\]\.tokenFile: cannot stand beside username/,
    ],
    [
      'a password in the file itself',
      change({ username: 'u', password: 'topsecret' }),
      /\.password in \/c: unknown key$/m,
    ],
    [
      "passwords of the proxy's own users that would go to an upstream",
      { upstreams: [HUB, LOCAL], access: { htpasswdFile: '/h' } },
      /^access: the upstream hub would be passed .* passCredentials: false/,
    ],
    ['a negative rate', change({ requestsPerSecond: -1 }), /^upstreams\[0\]\.requestsPerSecond in \/c/],
    [
      'one name twice',
      { upstreams: [HUB, { ...LAN, name: 'hub' }] },
      /^upstreams\[1\]\.name: the name "hub" is that of upstreams\[0\]/,
    ],
    [
      'one host twice',
      { upstreams: [HUB, { ...LAN, hosts: ['Index.Docker.io'] }] },
      /^upstreams\[1\]\.hosts\[0\]: the host "docker\.io" is/,
    ],
    [
      'one prefix twice',
      { upstreams: [LAN, { ...HUB, prefix: 'lan' }] },
      /^upstreams\[1\]\.prefix: the prefix/,
    ],
    [
      'two defaults',
      { upstreams: [LAN, { ...HUB, default: true }] },
      /^upstreams\[1\]\.default: upstreams\[0\] is so/,
    ],
    [
      'two embedded ones',
      { upstreams: [LOCAL, { ...LOCAL, name: 'b', prefix: 'b' }] },
      /^upstreams\[1\]\.embedded/,
    ],
    [
      'both forms',
      { upstreams: [HUB], upstream: { url: 'https://x' } },
      /^upstream: cannot stand beside upstreams; make it an entry/,
    ],
    [
      'plain http elsewhere in the short form',
      { upstream: HTTP },
      /^upstream\.url: plain http .* set plainHttp: true/,
    ],
  ];
  for (const [title, file, pattern] of BAD) {
    it(`are refused with ${title}`, () => {
      const loaded = load(file);
      assert.equal(loaded.kind, 'faults');
      if (loaded.kind === 'faults') assert.match(loaded.faults.join('\n'), pattern);
    });
  }

  it('tell all faults of all entries at once', () => {
    const loaded = load({
      upstreams: [
        { ...HUB, url: 'x' },
        { ...LAN, connections: 0, colour: 'red' },
      ],
    });
    assert.ok(loaded.kind === 'faults');
    assert.deepEqual(
      loaded.faults.map((fault) => fault.split(' ')[0]),
      ['upstreams[0].url', 'upstreams[1].colour', 'upstreams[1].connections'],
    );
  });

  it('are explained by --help, key by key', () => {
    const help = loadConfig({
      name: 'p',
      envPrefix: ENV_PREFIX,
      schema: ServerConfigSchema,
      argv: ['--help'],
      env: {},
      readFile: () => '',
    });
    assert.ok(help.kind === 'help');
    assert.match(help.text, /--upstreams VALUE.*- prefix: .*- plainHttp: True or false; default false/s);
  });
});
