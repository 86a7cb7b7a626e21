import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { after, before, describe, it } from 'mocha';
import { skip } from '../support/skip.ts';

const run = promisify(execFile);
const NODE = resolve(import.meta.dirname, '../../bin/node');
const MAX_TRIES = 20;
const WAN = resolve(import.meta.dirname, '../../scripts/demo/wan/wan.ts');

/** A server in the cloud: sends as many bytes as a line asks for, then ends. */
const SERVER = `require('node:net').createServer((s) => {
  s.on('error', () => {});
  s.once('data', (d) => s.end(Buffer.alloc(Number(d))));
}).listen(7000, '10.77.0.1', () => console.log('listening'));`;
/** A client at the edge: prints the time to connect and to have everything, in ms, and the bytes that came. */
const CLIENT = `const [size] = process.argv.slice(1), t = performance.now();
let connected, bytes = 0;
const s = require('node:net').createConnection(7000, '10.77.0.1', () => {
  connected = performance.now() - t;
  s.write(size);
});
s.on('data', (d) => { bytes += d.length; });
s.on('end', () => console.log(JSON.stringify({ connected, total: performance.now() - t, bytes })));
s.on('error', (e) => { console.error(e.code); process.exit(1); });`;

type Ready = {
  readonly driver: string;
  readonly cloud: string;
  readonly edge: string;
  readonly control: string;
};
type Fetched = { readonly connected: number; readonly total: number; readonly bytes: number };
type Direction = { readonly packets: number; readonly bytes: number; readonly drops: number };
type Stats = { readonly down: Direction; readonly up: Direction };

async function firstLine(child: ChildProcess): Promise<string> {
  assert.ok(child.stdout !== null);
  for await (const line of createInterface({ input: child.stdout })) return line;
  throw new Error('ended without a word');
}

async function startWan(control: string): Promise<{ child: ChildProcess; ready: Ready }> {
  const child = spawn(
    NODE,
    [WAN, 'up', '--rtt', '60', '--rate', '40', '--control', control, '--with-parent'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  return { child, ready: JSON.parse(await firstLine(child)) as Ready }; // its own line of JSON
}

const inside = (namespace: string, ...args: string[]) => [
  `--net=/run/netns/${namespace}`,
  '--',
  NODE,
  ...args,
];

describe('emulated WAN', () => {
  let dir = '';
  let wan: Awaited<ReturnType<typeof startWan>>;
  let server: ChildProcess;
  const ask = async (...words: string[]) => {
    const { stdout } = await run(NODE, [WAN, 'ask', '--control', wan.ready.control, ...words]);
    return JSON.parse(stdout) as Stats; // its own line of JSON
  };
  const fetchBytes = async (size: number, timeout = 30_000) => {
    const { stdout } = await run('nsenter', inside(wan.ready.edge, '-e', CLIENT, `${size}`), { timeout });
    return JSON.parse(stdout) as Fetched; // CLIENT's line
  };
  /** The least of a time over some tries, until it is below `enoughMs`: a busy machine adds to it, and never takes away. */
  const quickest = async (time: (fetched: Fetched) => number, size: number, enoughMs: number) => {
    let leastMs = Number.POSITIVE_INFINITY;
    for (let tries = 0; tries < MAX_TRIES && leastMs >= enoughMs; tries += 1) {
      leastMs = Math.min(leastMs, time(await fetchBytes(size)));
    }
    return leastMs;
  };

  before(async function () {
    if (process.getuid?.() !== 0) skip(this, 'not root');
    if (!existsSync('/dev/net/tun')) skip(this, 'no /dev/net/tun');
    dir = mkdtempSync(join(tmpdir(), 'sl-wan-'));
    wan = await startWan(join(dir, 'wan.sock'));
    server = spawn('nsenter', inside(wan.ready.cloud, '-e', SERVER), {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    assert.equal(await firstLine(server), 'listening');
  });

  after(async () => {
    if (dir === '') return;
    for (const child of [server, wan?.child]) {
      if (child?.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    rmSync(dir, { recursive: true, force: true });
  });

  it('takes the round trip that was asked for', async () => {
    const longer = await quickest((fetched) => fetched.connected, 1, 90);
    assert.ok(longer >= 59 && longer < 90, `${longer} ms to connect over 60 ms`);
    await ask('set', 'rtt=10');
    const shorter = await quickest((fetched) => fetched.connected, 1, 40);
    assert.ok(shorter >= 9.5 && shorter < 40, `${shorter} ms to connect over 10 ms`);
  });

  it('lets through what its rate allows, and counts it', async () => {
    await ask('set', 'rtt=10', 'rate=40');
    await ask('reset');
    const sizeBytes = 4_000_000;
    const { total: first, bytes } = await fetchBytes(sizeBytes);
    const { down, up } = await ask('stats');
    assert.equal(bytes, sizeBytes);
    const onTheLine = (sizeBytes * 1500) / 1448; // headers of IP and TCP, with timestamps
    assert.ok(down.bytes >= onTheLine * 0.999 && down.bytes < onTheLine * 1.1, `${down.bytes} bytes down`);
    assert.ok(up.bytes > 0 && up.bytes < down.bytes / 10, `${up.bytes} bytes up`);
    const leastMs = (onTheLine * 8) / 40e6 / 1e-3;
    // the time on an idle line, and as much again for a machine that does much else
    const total = Math.min(first, await quickest((fetched) => fetched.total, sizeBytes, leastMs * 2));
    assert.ok(total > leastMs && total < leastMs * 2, `${total} ms for what takes ${leastMs} ms`);
  });

  it('passes nothing while it is cut, and goes on when it is joined', async () => {
    await ask('cut');
    await ask('reset');
    await assert.rejects(fetchBytes(1, 1500));
    const { down, up } = await ask('stats');
    assert.deepEqual([down.bytes, up.bytes], [0, 0]);
    await ask('join');
    assert.equal((await fetchBytes(1000)).bytes, 1000);
  });

  it('refuses what it does not know', async () => {
    await assert.rejects(ask('flood'));
    await assert.rejects(run(NODE, [WAN, 'up', '--rtt', 'x', '--rate', '1']));
    await assert.rejects(run(NODE, [WAN, 'up', '--rtt', '1', '--rate', '1', '--driver', 'rope']));
  });

  it('removes its namespaces when it is told to end, and those of a killed one at the next start', async () => {
    const killed = await startWan(join(dir, 'killed.sock'));
    killed.child.kill('SIGKILL');
    await once(killed.child, 'exit');
    assert.ok(existsSync(`/run/netns/${killed.ready.cloud}`));
    const next = await startWan(join(dir, 'next.sock'));
    const names = readdirSync('/run/netns');
    assert.ok(!names.includes(killed.ready.cloud) && !names.includes(killed.ready.edge));
    assert.ok(names.includes(wan.ready.cloud), "another's are left alone");
    next.child.kill('SIGTERM');
    const [code] = await once(next.child, 'exit');
    assert.equal(code, 0);
    assert.ok(!existsSync(`/run/netns/${next.ready.cloud}`) && !existsSync(`/run/netns/${next.ready.edge}`));
    assert.ok(!existsSync(join(dir, 'next.sock')));
  });
});
