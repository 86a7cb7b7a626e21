import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { ask, Control } from './control.ts';
import type { Link, LinkDriverName, LinkSettings } from './link.ts';
import { ADDRESS, makeNamespaces, type Namespaces, removeStale } from './namespaces.ts';
import { hasNetem, openNetemLink } from './netem-link.ts';
import { endWithParent } from './system-calls.ts';
import { openTunLink } from './tun-link.ts';

const USAGE = `An emulated WAN between two network namespaces, as root:

  bin/node scripts/demo/wan/wan.ts up --rtt MS --rate MBIT [--control SOCKET] [--driver auto|tun|netem] [--with-parent]
      runs until SIGTERM; first prints a line of JSON: the namespaces, the addresses and the socket
  bin/node scripts/demo/wan/wan.ts ask --control SOCKET stats|reset|cut|join|set rtt=MS rate=MBIT
      asks a running one; prints its answer, a line of JSON

The namespaces are sl-cloud-PID (10.77.0.1) and sl-edge-PID (10.77.0.2). --rate 0 is no limit.
Run things inside with: nsenter --net=/run/netns/NAME -- COMMAND
`;

const ASK_LIMIT_MS = 5000;

function number(text: string | undefined, name: string): number {
  if (text === undefined || !/^\d+(\.\d+)?$/.test(text)) throw new RangeError(`--${name} needs a number`);
  return Number(text);
}

async function chooseDriver(
  wanted: string,
  namespaces: Namespaces,
  signal: AbortSignal,
): Promise<LinkDriverName> {
  if (wanted === 'tun' || wanted === 'netem') return wanted;
  if (wanted !== 'auto') throw new RangeError('--driver is auto, tun or netem');
  return (await hasNetem(namespaces, signal)) ? 'netem' : 'tun';
}

/** Runs a link until `signal`; prints where it is once it carries packets. */
async function up(
  settings: LinkSettings,
  wanted: string,
  control: string,
  signal: AbortSignal,
): Promise<void> {
  for (const name of await removeStale(signal)) console.error(`wan: removed ${name}, left by a killed run`);
  await using namespaces = await makeNamespaces(signal);
  const driver = await chooseDriver(wanted, namespaces, signal);
  const open = driver === 'netem' ? openNetemLink : openTunLink;
  await using link: Link = await open(namespaces, settings, signal);
  await using server = new Control(link, settings);
  await server.listen(control);
  const { cloud, edge } = namespaces;
  const ready = { driver, cloud, edge, cloudAddress: ADDRESS.cloud, edgeAddress: ADDRESS.edge, control };
  console.log(JSON.stringify(ready));
  if (!signal.aborted) await once(signal, 'abort');
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rtt: { type: 'string' },
      rate: { type: 'string' },
      control: { type: 'string' },
      driver: { type: 'string', default: 'auto' },
      'with-parent': { type: 'boolean', default: false },
    },
  });
  const [verb, ...words] = positionals;
  if (verb === 'up') {
    if (values['with-parent']) endWithParent();
    const stop = new AbortController();
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => stop.abort());
    const settings = { rttMs: number(values.rtt, 'rtt'), rateMbit: number(values.rate, 'rate'), cut: false };
    await up(settings, values.driver, values.control ?? `/run/sl-wan-${process.pid}.sock`, stop.signal);
  } else if (verb === 'ask' && values.control !== undefined && words.length > 0) {
    const answer = await ask(values.control, words.join(' '), AbortSignal.timeout(ASK_LIMIT_MS));
    console.log(answer);
    if ('error' in JSON.parse(answer)) process.exitCode = 1;
  } else {
    process.stderr.write(USAGE);
    process.exitCode = 2;
  }
}

try {
  await main();
} catch (error) {
  console.error(`wan: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
