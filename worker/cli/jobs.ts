import { Command, Option } from 'commander';
import { JobListSchema, type JobView, JobViewSchema } from '../../schemas/jobs/job-view.ts';
import type { ContextSource } from './context.ts';
import { DEFAULT_PROXY } from './notify.ts';
import { askProxy } from './proxy-request.ts';
import { formatTable } from './terminal.ts';

interface ProxyOptions {
  readonly proxy: string;
  readonly token?: string;
}
interface ListOptions extends ProxyOptions {
  readonly state?: string;
  readonly limit: string;
}

const STATES = ['queued', 'running', 'done', 'failed', 'cancelled'];
const MAX_CELL_CHARS = 80;

export function jobsCommand(context: ContextSource): Command {
  const list = proxyOptions(new Command('list').summary('the newest jobs'))
    .description('Lists the jobs of the proxy, the newest first.')
    .addOption(new Option('--state <state>', 'only those in this state').choices(STATES))
    .option('--limit <n>', 'how many', '100')
    .action(async (options: ListOptions) => {
      const { terminal, signal } = context();
      const query = new URLSearchParams({ limit: options.limit });
      if (options.state !== undefined) query.set('state', options.state);
      const path = `/starlight/jobs?${query}`;
      const { jobs } = await askProxy({ ...options, method: 'GET', path }, JobListSchema, signal);
      terminal.out(terminal.json ? `${JSON.stringify({ jobs })}\n` : table(jobs));
    });
  const show = proxyOptions(new Command('show').summary('one job'))
    .argument('<id>', 'the job')
    .action(async (id: string, options: ProxyOptions) => {
      const { terminal, signal } = context();
      const path = `/starlight/jobs/${encodeURIComponent(id)}`;
      const job = await askProxy({ ...options, method: 'GET', path }, JobViewSchema, signal);
      terminal.out(terminal.json ? `${JSON.stringify(job)}\n` : all(job));
    });
  const cancel = proxyOptions(new Command('cancel').summary('cancel one that is queued or running'))
    .argument('<id>', 'the job')
    .action(async (id: string, options: ProxyOptions) => {
      const { terminal, signal } = context();
      const path = `/starlight/jobs/${encodeURIComponent(id)}`;
      const job = await askProxy({ ...options, method: 'DELETE', path }, JobViewSchema, signal);
      terminal.out(terminal.json ? `${JSON.stringify(job)}\n` : `${job.id} ${job.state}\n`);
    });
  return new Command('jobs')
    .summary('what the proxy ingests and converts by itself')
    .description(
      'Shows and cancels the jobs of the proxy: images to ingest and to convert that it was told of by webhooks, ' +
        'pushes, reconciliation or Harbor. The proxy must have a token (starlight.token).',
    )
    .addCommand(list, { isDefault: true })
    .addCommand(show)
    .addCommand(cancel)
    .addHelpText(
      'after',
      '\nExamples:\n  ctr-starlight jobs --proxy http://proxy.example:8090 --state failed\n  ctr-starlight jobs cancel 5f0c…',
    );
}

function proxyOptions(command: Command): Command {
  return command
    .option('--proxy <url>', 'the proxy', process.env['STARLIGHT_PROXY'] ?? DEFAULT_PROXY)
    .option('--token <token>', "the proxy's token", process.env['STARLIGHT_TOKEN']);
}

function table(jobs: readonly JobView[]): string {
  const rows = jobs.map((job) => [
    job.id,
    job.kind,
    job.state,
    String(job.attempts),
    job.created,
    `${job.registry === '' ? '' : `${job.registry}/`}${job.name}${job.reference.includes(':') ? '@' : ':'}${job.reference}`,
    (job.error ?? job.result ?? job.progress ?? '').replaceAll(/\s+/g, ' ').slice(0, MAX_CELL_CHARS),
  ]);
  return formatTable([['ID', 'KIND', 'STATE', 'TRIES', 'CREATED', 'IMAGE', ''], ...rows]);
}

function all(job: JobView): string {
  return formatTable(Object.entries(job).map(([key, value]) => [`${key}:`, String(value)]));
}
