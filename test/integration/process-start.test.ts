import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server as NetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { freePort } from '../../scripts/lib/free-port.ts';
import { Server, tryRun } from '../../scripts/lib/child.ts';

const BIN = new URL('../../bin/', import.meta.url).pathname;
const START_LIMIT_MS = 90_000;

describe('a process that cannot start', function () {
  this.timeout(START_LIMIT_MS);
  let home: string;
  let busy: NetServer;
  let busyPort: string;
  before(async () => {
    home = await mkdtemp(join(tmpdir(), 'sl-start-'));
    await writeFile(join(home, 'file'), '');
    await mkdir(join(home, 'root/images.db'), { recursive: true });
    busy = createServer().listen(0, '127.0.0.1');
    await once(busy, 'listening');
    busyPort = String((busy.address() as AddressInfo).port); // it listens on TCP
  });
  after(async () => {
    busy.close();
    await rm(home, { recursive: true, force: true });
  });

  const proxy = (...flags: string[]) => [
    ...['starlight-proxy', '--listen-port', '0', '--storage-dir', join(home, 'registry')],
    ...['--database-dir', join(home, 'database'), ...flags],
  ];
  const daemon = (...flags: string[]) => [
    ...['starlight-daemon', '--snapshotter-socket', join(home, 's.sock')],
    ...['--control-socket', join(home, 'c.sock'), ...flags],
  ];
  const ROWS: readonly (readonly [what: string, command: () => string[], message: RegExp])[] = [
    [
      'a port that is in use',
      () => ['starlight-proxy', '--listen-port', busyPort, ...proxy().slice(3)],
      /^starlight-proxy: cannot start: listen EADDRINUSE: address already in use 127\.0\.0\.1:\d+$/,
    ],
    [
      'a registry below a file',
      () => ['starlight-proxy', '--storage-dir', join(home, 'file/registry')],
      /^starlight-proxy: cannot start: the registry's directory \S+ cannot be used: ENOTDIR: /,
    ],
    [
      'a database below a file',
      () => ['starlight-proxy', ...proxy().slice(1, 5), '--database-dir', join(home, 'file/database')],
      /^starlight-proxy: cannot start: cannot open the database in \S+: (?:EEXIST|ENOTDIR): /,
    ],
    [
      'a database server that is away, and is not to be waited for',
      () => proxy('--database-url', 'postgres://u:topsecret@127.0.0.1:1/x', '--database-wait-limit-ms', '0'),
      /^starlight-proxy: cannot start: the directory database does not answer: connect ECONNREFUSED /,
    ],
    [
      'a registry where no directory can be made',
      () => ['starlight-proxy', '--storage-dir', '/proc/starlight/registry'],
      /^starlight-proxy: cannot start: the registry's directory \S+ cannot be used: ENOENT: .*'\/proc\/starlight'$/,
    ],
    [
      'a database where no directory can be made',
      () => ['starlight-proxy', ...proxy().slice(1, 5), '--database-dir', '/proc/starlight/database'],
      /^starlight-proxy: cannot start: cannot open the database in \S+: ENOENT: .*'\/proc\/starlight'$/,
    ],
    [
      'a mirror where no directory can be made',
      () => proxy('--mirror-dir', '/proc/starlight', '--mirror-max-bytes', '1000000'),
      /^starlight-proxy: cannot start: ENOENT: .*'\/proc\/starlight'$/,
    ],
    [
      'a certificate that is missing',
      () => proxy('--tls-cert-file', '/nope.pem', '--tls-key-file', '/nope.key'),
      /^starlight-proxy: cannot start: tls\.certFile: ENOENT: .*'\/nope\.pem'$/,
    ],
    [
      'users that are missing, where nothing is logged',
      () => proxy('--access-htpasswd-file', '/nope', '--log-level', 'silent'),
      /^starlight-proxy: cannot start: access\.htpasswdFile: \/nope: ENOENT: /,
    ],
    [
      'a root below a file',
      () => daemon('--root', join(home, 'file/root')),
      /^starlight-daemon: cannot start: ENOTDIR: not a directory, mkdir /,
    ],
    [
      'a root where no directory can be made',
      () => daemon('--root', '/proc/starlight/root'),
      /^starlight-daemon: cannot start: ENOENT: .*'\/proc\/starlight'$/,
    ],
    [
      'a socket where no directory can be made',
      () =>
        [
          ...daemon('--root', join(home, 'worker')),
          '--snapshotter-socket',
          '/proc/starlight/s.sock',
        ].toSpliced(1, 2),
      /^starlight-daemon: cannot start: ENOENT: .*'\/proc\/starlight'$/,
    ],
    [
      'a catalogue that is none',
      () => daemon('--root', join(home, 'root')),
      /^starlight-daemon: cannot start: \S+\/images\.db cannot be opened: unable to open database file$/,
    ],
    [
      'a health port that is in use',
      () => daemon('--root', join(home, 'worker'), '--health-port', busyPort),
      /^starlight-daemon: cannot start: listen EADDRINUSE: address already in use 127\.0\.0\.1:\d+$/,
    ],
    [
      'a socket in whose place something else is',
      () => daemon('--root', join(home, 'worker'), '--control-socket', join(home, 'file')).toSpliced(3, 2),
      /^starlight-daemon: cannot start: \S+\/file is in the way: it is not a socket$/,
    ],
  ];
  for (const [what, command, message] of ROWS) {
    it(`says so of ${what}, and ends with 1`, async () => {
      const [program = '', ...args] = command();
      const { code, stdout, stderr } = await tryRun(join(BIN, program), args);
      assert.match(stderr.trimEnd().split('\n').at(-1) ?? '', message);
      assert.equal(code, 1);
      assert.ok(!`${stdout}${stderr}`.includes('topsecret'));
    });
  }
});

describe('the health of starlight-daemon', function () {
  this.timeout(2 * START_LIMIT_MS);

  it('is ready once containerd may call it, and over when it has ended on SIGTERM', async () => {
    const home = await mkdtemp(join(tmpdir(), 'sl-health-'));
    const port = await freePort();
    const status = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).status;
    try {
      const args = [
        ...['--root', join(home, 'root'), '--health-port', String(port)],
        ...['--snapshotter-socket', join(home, 's.sock'), '--control-socket', join(home, 'c.sock')],
      ];
      const logFile = join(home, 'log');
      const ready = async () => (await status('/readyz')) === 200;
      const command = join(BIN, 'starlight-daemon');
      await using daemon = await Server.start({ command, args, logFile }, ready, START_LIMIT_MS);
      assert.equal(await status('/healthz'), 200);
      const ping = await tryRun('curl', [
        '-sf',
        '--unix-socket',
        join(home, 'c.sock'),
        'http://d/v1/version',
      ]);
      assert.equal(ping.code, 0, 'the control socket answers by then');
      assert.equal(await daemon.stop('SIGTERM'), 0);
      await assert.rejects(status('/healthz'));
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  });
});
