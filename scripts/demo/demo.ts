import { join } from 'node:path';
import { formatBytes, formatTable } from '../../worker/cli/terminal.ts';
import { Cloud } from './cloud.ts';
import { Edge } from './edge.ts';
import type { DemoImages } from './images.ts';
import { type Measurement, measure } from './measure.ts';
import { WanLink } from './wan-link.ts';

export interface DemoOptions {
  readonly directory: string;
  readonly images: DemoImages;
  readonly rttMs: number;
  readonly rateMbit: number;
  readonly say: (text: string) => void;
}

const READY = /Ready to accept connections/;
const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

/** The whole of it, as root: see scripts/README.md for the steps. Once `signal` is aborted it ends what it is doing. */
export async function demo(options: DemoOptions, signal: AbortSignal): Promise<void> {
  const { directory, images, rttMs, rateMbit, say } = options;
  await using link = await WanLink.start(directory, signal);
  const rate = rateMbit === 0 ? 'no limit of the rate' : `${rateMbit} Mbit/s`;
  say(`link: ${rttMs} ms round trip, ${rate}, between two network namespaces (${link.driver})`);
  await using cloud = await Cloud.start(directory, link.cloudAddress, link.cloud);
  const { registry } = cloud;

  for (const version of ['old', 'new'] as const) {
    signal.throwIfAborted();
    say(`cloud: push, convert and ingest the ${version} redis, ${images[version].version}`);
    await cloud.push(images.layout, version, `plain/redis:${version}`);
    say(indent(await cloud.convert(`plain/redis:${version}`, `starlight/redis:${version}`)));
  }

  const onFreshEdge = async <T>(use: (edge: Edge) => Promise<T>): Promise<T> => {
    signal.throwIfAborted();
    // What is prepared need not be waited for, but over the round trip of the measurement: a kept connection on
    // which BBR has seen a shorter one keeps so little in flight that it crawls until it forgets, some ten seconds.
    await link.set(rttMs, 0);
    await using edge = await Edge.start(join(directory, 'edge'), registry, link.edge);
    return await use(edge);
  };
  const slow = () => link.set(rttMs, rateMbit);

  say('edge: a first run with the optimizer on, which notes what redis opens');
  await onFreshEdge(async (edge) => {
    const reference = `${registry}/starlight/redis:old`;
    await slow();
    await edge.cli('optimizer', 'on');
    const first = await measure(edge, link, {
      snapshotter: 'starlight',
      reference,
      id: 'trace',
      ready: READY,
    });
    say(indent(`redis was ready after ${seconds(first.readyMs)},\n${arrivedText(first)}`));
    await edge.stopContainer('trace');
    say(indent(`the order of the ${await edge.report()} files it opened was reported to the proxy`));
  });

  const rows: Row[] = [];
  for (const snapshotter of ['overlayfs', 'starlight'] as const) {
    const repository = `${registry}/${snapshotter === 'overlayfs' ? 'plain' : 'starlight'}/redis`;
    for (const mode of ['fresh', 'update'] as const) {
      const row = await onFreshEdge(async (edge) => {
        if (mode === 'update') {
          await edge.pull(snapshotter, `${repository}:old`);
          if (snapshotter === 'starlight') await edge.settle(`${repository}:old`);
        }
        await slow();
        const reference = `${repository}:new`;
        const measured = await measure(edge, link, { snapshotter, reference, id: mode, ready: READY });
        await edge.stopContainer(mode);
        return { snapshotter, mode, measured };
      });
      const { pullMs, readyMs, atReady } = row.measured;
      say(`edge: ${title(row)}: pulled in ${seconds(pullMs)}, ready after ${seconds(readyMs)}`);
      if (atReady !== undefined) say(indent(`ready ${arrivedText(row.measured)}`));
      rows.push(row);
    }
  }
  say(`\n${table(rows)}\n${LEGEND}`);
}

const LEGEND = `ready: from the pull command until redis itself says that it accepts connections
until ready, in all: bytes over the link, in both directions
fresh: nothing there before; update: the old version there before`;

interface Row {
  readonly snapshotter: 'overlayfs' | 'starlight';
  readonly mode: 'fresh' | 'update';
  readonly measured: Measurement;
}

function title({ snapshotter, mode }: Row): string {
  return `${snapshotter === 'overlayfs' ? 'containerd' : 'Starlight'}, ${mode}`;
}

/** The table of the README: Starlight against containerd as it is, in the same run. */
function table(rows: readonly Row[]): string {
  const baseline = (row: Row) =>
    rows.find((other) => other.mode === row.mode && other.snapshotter === 'overlayfs') ?? row;
  const head = ['| redis', '| ready', '| faster', '| until ready', '| in all', '| share |'];
  const line = ['|---', '|---:', '|---:', '|---:', '|---:', '|---: |'];
  const body = rows.map((row) => {
    const { measured } = row;
    const other = baseline(row).measured;
    return [
      `| ${title(row)}`,
      `| ${seconds(measured.readyMs)}`,
      `| ${(other.readyMs / measured.readyMs).toFixed(1)}×`,
      `| ${formatBytes(measured.bytesToReady)}`,
      `| ${formatBytes(measured.bytesInAll)}`,
      `| ${((100 * measured.bytesInAll) / other.bytesInAll).toFixed(0)} % |`,
    ];
  });
  return formatTable([head, line, ...body]);
}

function arrivedText({ atReady }: Measurement): string {
  if (atReady === undefined) return '';
  const { contents, contentsTotal, bytes, bytesTotal } = atReady;
  if (contents === contentsTotal) return `with all of its ${contentsTotal} files there`;
  return `with ${contents} of ${contentsTotal} files there, ${formatBytes(bytes)} of ${formatBytes(bytesTotal)}`;
}

function indent(text: string): string {
  return text.trimEnd().replace(/^/gm, '    ');
}
