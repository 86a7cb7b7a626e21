import type { Middleware } from 'koa';
import { Type } from '@sinclair/typebox';
import { isDigest } from '../../../schemas/oci/digest.ts';
import { isTag } from '../../../schemas/oci/reference.ts';
import type { HttpError } from '../http-error.ts';
import { headerOf, httpRoutes, type RouteContext, type SignalState } from '../http-route.ts';
import { isJobId, type Job } from '../jobs/job.ts';
import type { JobQueue } from '../jobs/job-queue.ts';
import { readJsonBody } from '../json-body.ts';
import { bodyParser } from '../question.ts';
import { StarlightError } from '../starlight-error.ts';
import { checkSecret, type EventRoutesOptions } from './routes.ts';

/** goharbor/pluggable-scanner-spec, api/spec/scanner-adapter-openapi-v1.2.yaml. */
const TYPE = {
  metadata: 'application/vnd.scanner.adapter.metadata+json; version=1.1',
  accepted: 'application/vnd.scanner.adapter.scan.response+json; version=1.0',
  error: 'application/vnd.scanner.adapter.error+json; version=1.0',
  report: 'application/vnd.security.vulnerability.report; version=1.1',
  oldReport: 'application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0',
  rawReport: 'application/vnd.scanner.adapter.vuln.report.raw',
} as const;
const REPORTS: readonly string[] = [TYPE.report, TYPE.oldReport, TYPE.rawReport];
const CONSUMED = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];

const MAX_SCAN_BODY_BYTES = 64 << 10;
/** When Harbor asks again for a report that is not there yet. */
const REFRESH_AFTER_S = 5;

const Text = Type.Optional(Type.String({ maxLength: 1_024 }));
const parseScan = bodyParser(
  Type.Object({
    registry: Type.Object({ url: Text }),
    artifact: Type.Object({
      repository: Type.String({ minLength: 1, maxLength: 512 }),
      digest: Text,
      tag: Text,
      mime_type: Text,
    }),
  }),
);

export interface ScannerRoutesOptions extends EventRoutesOptions {
  readonly queue: JobQueue;
  readonly version: string;
}

/**
 * Harbor's pluggable scanner API: as a "scanner", the proxy is told of images by Harbor's own scan on push and scan
 * all, without webhooks. A scan is an ingest; its report finds no vulnerabilities, since none are looked for.
 */
export function scannerRoutes(options: ScannerRoutesOptions): Middleware<SignalState> {
  const guarded = (handler: (ctx: RouteContext, groups: readonly string[]) => Promise<void>) => {
    return async (ctx: RouteContext, groups: readonly string[]) => {
      const header = headerOf(ctx);
      // Harbor's kinds of authorization: None, Basic, Bearer, and the key in a header of its own.
      checkSecret(header('x-scanneradapter-api-key') ?? header('authorization'), options.secret);
      await handler(ctx, groups);
    };
  };
  return httpRoutes(
    [
      { path: /^\/api\/v1\/metadata$/, methods: { GET: guarded((ctx) => metadata(ctx, options)) } },
      { path: /^\/api\/v1\/scan$/, methods: { POST: guarded((ctx) => scan(ctx, options)) } },
      {
        path: /^\/api\/v1\/scan\/([^/]+)\/report$/,
        methods: { GET: guarded((ctx, [id = '']) => report(ctx, options, id)) },
      },
    ],
    sendError,
  );
}

function scanner(version: string) {
  return { name: 'Starlight', vendor: 'Starlight', version };
}

async function metadata(ctx: RouteContext, { version }: ScannerRoutesOptions): Promise<void> {
  ctx.body = JSON.stringify({
    scanner: scanner(version),
    capabilities: [{ type: 'vulnerability', consumes_mime_types: CONSUMED, produces_mime_types: REPORTS }],
    properties: {
      'harbor.scanner-adapter/scanner-type': 'os-package-vulnerability',
      'starlight/what-it-does': 'ingests images; looks for no vulnerabilities',
    },
  });
  ctx.set('Content-Type', TYPE.metadata);
}

async function scan(ctx: RouteContext, options: ScannerRoutesOptions): Promise<void> {
  const body = parseScan(await readJsonBody(ctx, options, MAX_SCAN_BODY_BYTES));
  const { repository: name, digest, tag } = body.artifact;
  const known = isDigest(digest) ? { digest } : {};
  const reference = tag !== undefined && isTag(tag) ? tag : isDigest(digest) ? digest : undefined;
  const host = headerOf(ctx)('host');
  // Harbor names itself by an address of its own network more often than not. It is only looked up, never asked.
  const ns = URL.parse(body.registry.url ?? '')?.host;
  const repository =
    (ns === undefined ? undefined : options.repositoryOf(ns, name, host)) ??
    options.repositoryOf(undefined, name, host);
  if (reference === undefined || repository === undefined) {
    const what =
      reference === undefined ? 'the artifact has neither digest nor tag' : `${name} is not fronted`;
    return sendError(ctx, { status: 422, message: what });
  }
  const push = { registry: repository.registry, name: repository.name, reference, ...known };
  const [id] = await options.intake.take([push], 'scan', ctx.state.signal);
  if (id === undefined) {
    return sendError(ctx, { status: 422, message: `${name} is none of events.repositories` });
  }
  ctx.status = 202;
  ctx.body = JSON.stringify({ id });
  ctx.set('Content-Type', TYPE.accepted);
}

async function report(ctx: RouteContext, options: ScannerRoutesOptions, id: string): Promise<void> {
  const job = isJobId(id) ? await options.queue.find(id, ctx.state.signal) : undefined;
  if (job === undefined) throw new StarlightError({ kind: 'job-unknown', id: id.slice(0, 80) });
  switch (job.state) {
    case 'queued':
    case 'running':
      ctx.status = 302;
      ctx.set('Location', ctx.path);
      ctx.set('Refresh-After', String(REFRESH_AFTER_S));
      ctx.body = '';
      return;
    case 'failed':
    case 'cancelled':
      return sendError(ctx, {
        status: 500,
        message: job.error === '' ? `the scan was ${job.state}` : job.error,
      });
    case 'done': {
      const type = wantedReport(headerOf(ctx)('accept'));
      if (type === undefined) {
        return sendError(ctx, { status: 501, message: `reports are ${REPORTS.join(', ')}` });
      }
      ctx.body = JSON.stringify(reportOf(job, options.version));
      ctx.set('Content-Type', type);
      return;
    }
    default:
      job.state satisfies never;
  }
}

/** Types are compared without the blanks that may stand around their parameters. */
function wantedReport(accept: string | undefined): string | undefined {
  const wanted = (accept ?? '*/*').split(',').map((one) => one.replaceAll(/\s/g, ''));
  if (wanted.some((one) => one.startsWith('*/*') || one === '')) return TYPE.report;
  return REPORTS.find((type) => wanted.includes(type.replaceAll(/\s/g, '')));
}

function reportOf(job: Job, version: string) {
  const { name, reference, digest, updatedMs, result } = job;
  return {
    generated_at: new Date(updatedMs).toISOString(),
    artifact: {
      repository: name,
      ...(digest === undefined ? {} : { digest }),
      ...(isTag(reference) ? { tag: reference } : {}),
    },
    scanner: scanner(version),
    severity: 'Unknown',
    vulnerabilities: [],
    starlight: { result },
  };
}

function sendError(ctx: RouteContext, { status, message }: Pick<HttpError, 'status' | 'message'>): void {
  ctx.status = status;
  ctx.body = JSON.stringify({ error: { message } });
  ctx.set('Content-Type', TYPE.error);
}
