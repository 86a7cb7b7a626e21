import { Command } from 'commander';
import type { PullCounts, PullEvent, PullRequest } from '../control/protocol.ts';
import { CliError } from './cli-error.ts';
import type { CommandContext, ContextSource } from './context.ts';
import { type Progress, ProgressLine } from './progress-line.ts';
import { formatBytes, formatDuration } from './terminal.ts';

interface PullOptions {
  readonly from: readonly string[];
  readonly platform?: string;
  readonly namespace: string;
  readonly wait?: true;
  readonly user?: string;
}

const GOES_ON = 'what the daemon has begun goes on in the background: see `ctr-starlight status`';

/** What to do about a pull that failed, where the daemon's own words do not tell. */
const HINTS: Readonly<Record<string, string>> = {
  unreachable: "is the proxy running? the daemon's proxy.url names it, `ctr-starlight ping` asks it",
  'not-converted':
    'convert it first (ctr-starlight convert --help), or pull it with ctr as an ordinary image',
  unauthorized: "give --user, or a login in the daemon's registry.dockerConfig",
  'no-space': 'make room and pull again: what has arrived is kept',
  stopping: 'a daemon that starts again takes the pull up by itself',
};

function hintOf(code: string): { hint?: string } {
  const hint = HINTS[code];
  return hint === undefined ? {} : { hint };
}

export function pullCommand(context: ContextSource): Command {
  return new Command('pull')
    .summary('get an image ready to start; its contents follow')
    .description(
      'Asks the proxy once for what this machine lacks of an image, and puts the image with its snapshots ' +
        'into containerd as soon as the metadata is verified. A container can be started from then on, while ' +
        'the contents arrive in the background, or before this command ends with --wait.',
    )
    .argument('<reference>', 'the image, with its registry: registry.example/redis:7')
    .option(
      '--from <reference>',
      'another image at hand to take contents from (repeatable; those that the daemon holds are used anyway)',
      collect,
      [],
    )
    .option('--platform <platform>', 'os/architecture[/variant] (default: of this machine)')
    .option(
      '-n, --namespace <name>',
      "containerd's namespace",
      process.env['CONTAINERD_NAMESPACE'] ?? 'default',
    )
    .option('--wait', 'end only when every content has arrived')
    .option(
      '-u, --user <user:password>',
      "credentials for the registry (default: the daemon's docker config)",
    )
    .addHelpText(
      'after',
      `
Examples:
  ctr-starlight pull registry.example/redis:7
  ctr run --snapshotter starlight registry.example/redis:7 redis1
  ctr-starlight pull --wait -n k8s.io registry.example/redis:7.2
  ctr-starlight -o json pull --platform linux/arm64 registry.example/redis:7`,
    )
    .action(async (reference: string, options: PullOptions) => {
      await pull(context(), {
        reference,
        from: [...options.from],
        namespace: options.namespace,
        wait: options.wait === true,
        ...(options.platform === undefined ? {} : { platform: options.platform }),
        ...(options.user === undefined ? {} : { credentials: options.user }),
      });
    });
}

function collect(value: string, previous: readonly string[]): readonly string[] {
  return [...previous, value];
}

/** @throws {CliError} when the pull fails, with the daemon's code and message. */
async function pull({ daemon, terminal, signal }: CommandContext, request: PullRequest): Promise<void> {
  const line = new ProgressLine(terminal);
  let last: PullEvent | undefined;
  try {
    for await (const event of daemon.pull(request, signal)) {
      last = event;
      if (terminal.json) terminal.out(`${JSON.stringify(event)}\n`);
      if (event.event === 'progress') line.update(progressOf(event));
      else if (event.event !== 'error' && !terminal.json) {
        line.clear();
        terminal.err(`${eventText(event)}\n`);
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new CliError('interrupted', 'interrupted', { cause: error, hint: GOES_ON });
  } finally {
    line.clear();
  }
  if (last?.event === 'error') throw new CliError(last.code, last.message, hintOf(last.code));
  if (terminal.json) return;
  terminal.out(`${request.reference}\n`);
}

function progressOf(counts: PullCounts): Progress {
  const files = `${counts.contentsArrived}/${counts.contentsTotal} files`;
  const wire = `${formatBytes(counts.wireBytes)} of ${formatBytes(counts.wireBytesTotal)}`;
  return { done: counts.bytesArrived, total: counts.bytesTotal, text: `${files}  ${wire}` };
}

function eventText(event: Exclude<PullEvent, { event: 'progress' | 'error' }>): string {
  switch (event.event) {
    case 'header': {
      const missing = event.contentsTotal - event.contentsArrived;
      const unknown =
        event.unknownFrom.length === 0
          ? ''
          : `\nunknown to the proxy, ignored: ${event.unknownFrom.join(', ')}`;
      return `${event.manifestDigest} (${event.platform}): ${event.contentsTotal} files, ${missing} to fetch, ${formatBytes(event.wireBytesTotal)}${unknown}`;
    }
    case 'ready':
      return `ready to start after ${formatDuration(event.elapsedMs)}: ${event.contentsArrived} of ${event.contentsTotal} files are here`;
    case 'complete':
      return `complete after ${formatDuration(event.elapsedMs)}: ${event.contentsTotal} files, ${formatBytes(event.wireBytes)} received`;
    case 'warning':
      return `warning: ${event.message}`;
    default:
      return event satisfies never;
  }
}
