import assert from 'node:assert/strict';
import { loadConfig } from '../../schemas/config/load.ts';
import { redactConfig } from '../../schemas/config/redact.ts';
import { checkServerConfig, ENV_PREFIX, ServerConfigSchema } from '../../server/config.ts';

function load(argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
  return loadConfig({
    name: 'starlight-proxy',
    envPrefix: ENV_PREFIX,
    schema: ServerConfigSchema,
    argv,
    env,
    readFile: () => '',
    check: checkServerConfig,
  });
}

describe('ServerConfigSchema', () => {
  it('needs nothing to be set', () => {
    const loaded = load([]);
    assert.equal(loaded.kind, 'config');
    if (loaded.kind !== 'config') return;
    assert.deepEqual(loaded.value.listen, {
      host: '127.0.0.1',
      port: 8090,
      names: [],
      idleTimeoutMs: 120_000,
    });
    assert.equal(loaded.value.upstream, undefined);
  });

  it('makes a whole upstream of its URL', () => {
    const loaded = load([], { STARLIGHT_PROXY_UPSTREAM_URL: 'https://registry.test' });
    assert.equal(loaded.kind, 'config');
    if (loaded.kind === 'config') assert.equal(loaded.value.upstream?.connectTimeoutMs, 2000);
  });

  it('answers for an upstream that is dead within three seconds', () => {
    const loaded = load(['--upstream-url', 'https://registry.test']);
    assert.equal(loaded.kind, 'config');
    if (loaded.kind !== 'config') return;
    // Each is exceeded by half a second at most.
    assert.ok((loaded.value.upstream?.connectTimeoutMs ?? 3_000) <= 2_500);
    assert.ok((loaded.value.upstream?.readTimeoutMs ?? 3_000) <= 2_500);
  });

  it('keeps nothing of an upstream unless it is told how much', () => {
    const loaded = load([]);
    assert.equal(loaded.kind === 'config' ? loaded.value.mirror.maxBytes : undefined, 0);
  });

  it('hides what is secret when it is logged', () => {
    const secrets = {
      STARLIGHT_PROXY_DATABASE_URL: 'postgres://u:topsecret@db/x',
      STARLIGHT_PROXY_CACHE_REDIS_URL: 'redis://:topsecret@r',
      STARLIGHT_PROXY_STARLIGHT_TOKEN: 'topsecret',
    };
    const loaded = load([], secrets);
    assert.equal(loaded.kind, 'config');
    if (loaded.kind !== 'config') return;
    const text = JSON.stringify(redactConfig(ServerConfigSchema, loaded.value));
    assert.ok(!text.includes('topsecret') && text.includes('@db/x'), text);
  });

  const BAD: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['a port too large', ['--listen-port', '70000'], /^--listen-port: /],
    ['an upstream of another protocol', ['--upstream-url', 'ftp://x'], /^--upstream-url: /],
    ['an upstream with a path', ['--upstream-url', 'http://x/v2'], /^--upstream-url: /],
    ['an upstream with credentials in its URL', ['--upstream-url', 'http://u:p@x'], /^--upstream-url: /],
    ['an upstream without a URL', ['--upstream-ca-file', '/x'], /^upstream\.url: missing/],
    [
      'certificates for plain http',
      ['--upstream-url', 'http://127.0.0.1:1', '--upstream-ca-file', '/x'],
      /^upstream\.caFile: /,
    ],
    [
      'access control before an upstream',
      ['--upstream-url', 'https://x', '--access-htpasswd-file', '/u'],
      /^access: /,
    ],
    [
      'rules that are none',
      ['--access-rules', '[{"repositories":"a","users":"all","allow":[]}]'],
      /^--access-rules\[0\]/,
    ],
    [
      'a rule with a word too many',
      ['--access-rules', '[{"repositories":"a","users":"anonymous","allow":[],"x":1}]'],
      /^--access-rules\[0\]/,
    ],
    ['a certificate without its key', ['--tls-cert-file', '/c'], /^tls\.keyFile: missing/],
    [
      'a header of clients that nobody is trusted to write',
      ['--limits-client-header', 'X-Client'],
      /^limits\.clientHeader /,
    ],
    ['a database of another kind', ['--database-url', 'mysql://x'], /^--database-url: /],
    ['a limit of nothing', ['--shutdown-drain-limit-ms', '0'], /^--shutdown-drain-limit-ms: /],
    ['a token too short', ['--starlight-token', 'x'], /^--starlight-token: .*\[redacted\]$/],
    ['bundles larger than their cache', ['--cache-max-bytes', '10'], /^cache\.maxBundleBytes: /],
  ];
  for (const [title, argv, pattern] of BAD) {
    it(`refuses ${title}`, () => {
      const loaded = load(argv);
      assert.equal(loaded.kind, 'faults');
      if (loaded.kind === 'faults') assert.match(loaded.faults.join('\n'), pattern);
    });
  }
});
