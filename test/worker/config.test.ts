import assert from 'node:assert/strict';
import { loadConfig } from '../../schemas/config/load.ts';
import { checkWorkerConfig, ENV_PREFIX, WorkerConfigSchema } from '../../worker/config.ts';

describe('the configuration of the daemon', () => {
  const load = (argv: readonly string[], env: Record<string, string> = {}) =>
    loadConfig({
      name: 'starlight-daemon',
      envPrefix: ENV_PREFIX,
      schema: WorkerConfigSchema,
      argv,
      env,
      readFile: () => '',
      check: checkWorkerConfig,
    });

  it('is complete without a word', () => {
    const loaded = load([]);
    assert.equal(loaded.kind, 'config');
    assert.ok(loaded.kind === 'config');
    assert.equal(loaded.value.root, '/var/lib/starlight');
    assert.equal(loaded.value.trust.unboundToc, 'refuse');
  });

  it('has no quota unless one is set', () => {
    const value = (argv: readonly string[], env: Record<string, string> = {}) => {
      const loaded = load(argv, env);
      assert.ok(loaded.kind === 'config', loaded.kind);
      return loaded.value.store.quotaBytes;
    };
    assert.equal(value([]), 0);
    assert.equal(value(['--store-quota-bytes', '20000000000']), 20_000_000_000);
    assert.equal(value([], { STARLIGHT_DAEMON_STORE_QUOTA_BYTES: '4096' }), 4096);
  });

  it('tells in its help what a quota does', () => {
    const loaded = load(['--help']);
    assert.ok(loaded.kind === 'help', loaded.kind);
    const text = loaded.text.replace(/\s+/g, ' ');
    assert.match(text, /--store-quota-bytes/);
    assert.match(text, /What the contents of images may take up on the disk/);
    assert.match(text, /used longest ago removed when room is needed/);
  });

  const bad: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['a relative root', ['--root', 'state'], /root/],
    ['a root with a colon, which overlayfs would split', ['--root', '/a:b'], /root/],
    ['a root with a comma', ['--root', '/a,b'], /root/],
    ['a proxy URL with credentials', ['--proxy-url', 'http://user:secret@proxy'], /proxy-url/],
    ['a proxy URL with a path', ['--proxy-url', 'http://proxy/path'], /proxy-url/],
    ['another scheme', ['--proxy-url', 'ftp://proxy'], /proxy-url/],
    ['a socket path that is too long', ['--control-socket', `/${'x'.repeat(120)}`], /control-socket/],
    ['a relative socket', ['--snapshotter-socket', 'a.sock'], /snapshotter-socket/],
    ['an unknown driver', ['--filesystem-driver', 'nfs'], /filesystem-driver/],
    ['an unknown trust', ['--trust-unbound-toc', 'maybe'], /trust-unbound-toc/],
    [
      'one socket for two',
      ['--control-socket', '/a.sock', '--snapshotter-socket', '/a.sock'],
      /two different/,
    ],
    [
      'delays that shrink',
      ['--download-retry-delay-ms', '100', '--download-retry-delay-max-ms', '10'],
      /smaller/,
    ],
    ['a negative quota', ['--store-quota-bytes', '-1'], /store-quota-bytes/],
    ['a quota with a unit', ['--store-quota-bytes', '10G'], /store-quota-bytes/],
    ['half a byte', ['--store-quota-bytes', '0.5'], /store-quota-bytes/],
    [
      'a client certificate without key',
      ['--proxy-url', 'https://p', '--proxy-cert-file', '/c'],
      /of no use/,
    ],
    ['authorities for plain http', ['--proxy-ca-file', '/c'], /no effect/],
    ['a short token', ['--proxy-token', 'short'], /proxy-token/],
  ];
  for (const [name, argv, message] of bad) {
    it(`refuses ${name}`, () => {
      const loaded = load(argv);
      assert.ok(loaded.kind === 'faults', loaded.kind);
      assert.match(loaded.faults.join('\n'), message);
      assert.doesNotMatch(loaded.faults.join('\n'), /got "short"/);
    });
  }
});
