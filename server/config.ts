import { type Static, Type } from '@sinclair/typebox';
import { LogLevel, Ms } from '../schemas/config/setting.ts';
import { ConvertSchema, EventsSchema } from './jobs/config.ts';
import { checkLimits, LimitsSchema } from './limits/config.ts';
import { TlsSchema } from './tls/config.ts';
import { AccessSchema, checkAccess, isGuarded } from './access/config.ts';
import { HOST_PATTERN } from '../schemas/oci/host.ts';
import { checkUpstreams } from './upstream/check-upstreams.ts';
import { presentsOwn, UpstreamSchema, UpstreamsSchema } from './upstream/upstream-config.ts';
import { upstreamPlans } from './upstream/upstream-plan.ts';

/** The proxy's variables begin with this: `STARLIGHT_PROXY_LISTEN_PORT`. */
export const ENV_PREFIX = 'STARLIGHT_PROXY';

const PortNumber = Type.Integer({ minimum: 0, maximum: 65535 });
const Bytes = (fallback: number, description: string) =>
  Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: fallback, description });

const MIB = 1 << 20;

export const ServerConfigSchema = Type.Object({
  listen: Type.Object({
    host: Type.String({
      minLength: 1,
      default: '127.0.0.1',
      description: 'The address to listen on; 0.0.0.0 or :: for all.',
    }),
    port: { ...PortNumber, default: 8090, description: 'The port to listen on; 0 takes any free one.' },
    names: Type.Array(Type.String({ pattern: HOST_PATTERN }), {
      expected: 'a list of hosts, with or without a port',
      maxItems: 64,
      default: [],
      description:
        'Hosts that clients know the proxy itself by: a request for one of them (?ns=) names no upstream. The one in the Host header needs no mention.',
    }),
    idleTimeoutMs: Ms(120_000, 'A client connection on which nothing moves for this long is closed.'),
  }),
  storage: Type.Object({
    dir: Type.String({
      minLength: 1,
      default: './starlight-registry',
      description:
        'Where the embedded registry keeps its image layouts; unused where upstreams are set, none of them embedded.',
    }),
    crossMount: Type.Union([Type.Literal('any'), Type.Literal('named'), Type.Literal('off')], {
      default: 'any',
      description:
        'Whether a push may take a blob over from another repository: one that it names or any (any), one that it names (named), none (off).',
    }),
    sparse: Type.Boolean({
      default: false,
      description: 'Accept a manifest though the repository lacks blobs that it names.',
    }),
  }),
  access: AccessSchema,
  limits: LimitsSchema,
  tls: Type.Optional(TlsSchema),
  upstream: Type.Optional(UpstreamSchema),
  upstreams: UpstreamsSchema,
  mirror: Type.Object({
    dir: Type.String({
      minLength: 1,
      default: './starlight-mirror',
      description: 'Where blobs and manifests of upstreams are kept; of this proxy alone.',
    }),
    maxBytes: Bytes(0, 'What is kept there takes at most this much; 0 keeps nothing.'),
    grantMs: Ms(
      60_000,
      'So long after an upstream let a caller have a blob or manifest, that caller has it from here unasked.',
    ),
    tagMs: Ms(
      10_000,
      'So long after an upstream told a caller what a tag is, that caller is told so unasked.',
    ),
    staleMs: Ms(
      3_600_000,
      'While an upstream cannot be asked (429, 5xx, silence), what it let a caller have within this time is still served, with a Warning header; 0: nothing is.',
      0,
    ),
    circuitFailures: Type.Integer({
      minimum: 1,
      maximum: 1000,
      default: 5,
      description: 'After so many failures in a row an upstream is not asked for a while.',
    }),
    circuitOpenMs: Ms(5_000, 'How long it is not asked then, before one request may try.'),
  }),
  database: Type.Object({
    url: Type.Optional(
      Type.String({
        pattern: '^postgres(ql)?://',
        expected: 'a URL that begins with postgres:// or postgresql://',
        secret: 'url',
        description: 'PostgreSQL for the directory; without it an embedded PGlite is used.',
      }),
    ),
    dir: Type.String({
      minLength: 1,
      default: './starlight-directory',
      description: 'Where the embedded PGlite keeps its files; unused with database.url.',
    }),
    connections: Type.Integer({
      minimum: 1,
      maximum: 256,
      default: 8,
      description: 'How many connections to PostgreSQL may be open at once.',
    }),
    waitLimitMs: Ms(
      60_000,
      'At the start, a PostgreSQL that is away is waited for so long, while registry traffic is served; 0: not at all.',
      0,
    ),
  }),
  cache: Type.Object({
    redisUrl: Type.Optional(
      Type.String({
        pattern: '^rediss?://',
        expected: 'a URL that begins with redis:// or rediss://',
        secret: 'url',
        description: 'Redis for hot bundles; without it they are kept in this process.',
      }),
    ),
    maxBytes: Bytes(
      64 * MIB,
      'Hot bundles kept, in this process or in Redis, take at most this much; 0 keeps none.',
    ),
    maxBundleBytes: Bytes(16 * MIB, 'A bundle larger than this is not kept.'),
    ttlMs: Ms(3_600_000, 'How long a hot bundle is kept.'),
  }),
  starlight: Type.Object({
    token: Type.Optional(
      Type.String({
        minLength: 8,
        secret: true,
        description:
          'What notify and report must present in the header Starlight-Token; without it they are open.',
      }),
    ),
  }),
  events: EventsSchema,
  convert: ConvertSchema,
  shutdown: Type.Object({
    drainLimitMs: Ms(20_000, 'After SIGTERM, streams still running are cut after this long.'),
  }),
  log: Type.Object({
    level: LogLevel('What is logged, to standard output, one JSON object per line.'),
  }),
});
export type ServerConfig = Static<typeof ServerConfigSchema>;
export type MirrorConfig = ServerConfig['mirror'];

/** Rules across several values, for `loadConfig`. */
export function checkServerConfig(config: ServerConfig): string[] {
  const faults = [...checkAccess(config.access), ...checkLimits(config.limits), ...checkUpstreams(config)];
  if (isGuarded(config.access)) faults.push(...checkGuarded(config));
  if (config.cache.maxBundleBytes > config.cache.maxBytes && config.cache.maxBytes > 0) {
    faults.push(
      'cache.maxBundleBytes: larger than cache.maxBytes, so that the largest bundles could never be kept',
    );
  }
  return faults;
}

/** Clients present one login to a host: that of the embedded registry is not to go on to upstreams. */
function checkGuarded(config: ServerConfig): string[] {
  const plans = upstreamPlans(config);
  if (plans.every(({ config: upstream }) => upstream !== undefined)) {
    return ['access: is for the embedded registry; an upstream decides by itself who may do what'];
  }
  return plans.flatMap(({ key, config: upstream }) =>
    upstream === undefined || presentsOwn(upstream)
      ? []
      : [
          `access: the upstream ${key} would be passed the passwords of the embedded registry's users; set passCredentials: false there, or give it credentials of its own`,
        ],
  );
}
