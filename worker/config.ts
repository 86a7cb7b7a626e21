import { type Static, Type } from '@sinclair/typebox';
import { LogLevel, Ms } from '../schemas/config/setting.ts';

/** The daemon's variables begin with this: `STARLIGHT_DAEMON_PROXY_URL`. */
export const ENV_PREFIX = 'STARLIGHT_DAEMON';

const Count = (fallback: number, minimum: number, maximum: number, description: string) =>
  Type.Integer({ minimum, maximum, default: fallback, description });
const File = (description: string) => Type.Optional(Type.String({ minLength: 1, description }));
const SocketPath = (fallback: string, description: string) =>
  // sun_path of unix(7) has 108 bytes with its NUL
  Type.String({
    ...{ minLength: 1, maxLength: 107, pattern: '^/', default: fallback, description },
    expected: 'an absolute path of at most 107 characters',
  });

export const WorkerConfigSchema = Type.Object({
  root: Type.String({
    minLength: 1,
    pattern: '^/[^:,]*$', // it stands in overlayfs's lowerdir list
    expected: 'an absolute path without a colon or comma',
    default: '/var/lib/starlight',
    description: 'Where contents, snapshots and mounts are kept; on a disk, not on another overlay.',
  }),
  proxy: Type.Object({
    url: Type.String({
      pattern: '^https?://[^/?#@]+/?$',
      expected: 'a URL: http:// or https://, a host, perhaps a port, no path',
      default: 'http://127.0.0.1:8090',
      description: 'The Starlight proxy: http://host:port or https://host.',
    }),
    token: Type.Optional(
      Type.String({ minLength: 8, secret: true, description: 'What the proxy wants to see for reports.' }),
    ),
    caFile: File('A PEM file of authorities to trust for it, beside the public ones that Node brings.'),
    certFile: File('A PEM file with the certificate to show to a proxy that asks for one.'),
    keyFile: File('A PEM file with the key of that certificate.'),
    connectTimeoutMs: Ms(5_000, 'How long connecting to the proxy may take.'),
    headerTimeoutMs: Ms(30_000, "How long the proxy's answer may take to begin."),
    idleTimeoutMs: Ms(20_000, 'How long a body may stand still before it counts as cut.'),
  }),
  registry: Type.Object({
    dockerConfig: Type.String({
      minLength: 1,
      default: '/root/.docker/config.json',
      description: 'Credentials of registries ("auths" of a docker config.json); it need not exist.',
    }),
  }),
  containerd: Type.Object({
    address: SocketPath('/run/containerd/containerd.sock', "containerd's socket."),
    snapshotter: Type.String({
      pattern: '^[A-Za-z0-9][A-Za-z0-9_-]{0,60}$',
      expected: 'at most 61 letters, digits, dashes and underscores',
      default: 'starlight',
      description: "This snapshotter's name in containerd's configuration (proxy_plugins).",
    }),
    timeoutMs: Ms(30_000, 'How long one request to containerd may take.'),
    retries: Count(20, 0, 1000, 'How often it is tried again while containerd is unreachable.'),
    retryDelayMs: Ms(500, 'The pause between two such tries.'),
  }),
  snapshotter: Type.Object({
    socket: SocketPath('/run/starlight/starlight-snapshotter.sock', 'The socket that containerd calls.'),
  }),
  control: Type.Object({
    socket: SocketPath('/run/starlight/starlight-control.sock', 'The socket that ctr-starlight calls.'),
  }),
  filesystem: Type.Object({
    driver: Type.Union([Type.Literal('auto'), Type.Literal('kernel'), Type.Literal('fuse-native')], {
      default: 'auto',
      description: 'How images are mounted; auto takes the first that works here.',
    }),
    completeForm: Type.Union([Type.Literal('auto'), Type.Literal('off')], {
      default: 'auto',
      description:
        'With auto, containers made after all contents of an image have arrived read them without the daemon, where the kernel can (Linux 6.5 with EROFS).',
    }),
    unmountAtExit: Type.Boolean({
      default: false,
      description:
        'Unmount images when stopping. Otherwise (kernel driver) running containers wait for the next daemon.',
    }),
    waitLimitMs: Ms(300_000, 'How long an open waits for its content before it fails (EIO); 0 for ever.', 0),
  }),
  store: Type.Object({
    fsync: Type.Union([Type.Literal('none'), Type.Literal('image'), Type.Literal('content')], {
      default: 'image',
      description: 'When contents are forced to the disk: never, once per image, or each by itself.',
    }),
    quotaBytes: Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      default: 0,
      description:
        'What the contents of images may take up on the disk. Images that nothing needs are then kept for later ' +
        'updates, and those used longest ago removed when room is needed. 0: no limit, and nothing is kept.',
    }),
  }),
  download: Type.Object({
    retries: Count(10, 0, 10_000, 'Cuts in a row, without a byte of progress, after which a download fails.'),
    retryDelayMs: Ms(250, 'The first pause after a cut; it doubles up to retryDelayMaxMs.'),
    retryDelayMaxMs: Ms(15_000, 'The longest pause after a cut.'),
    demandConcurrency: Count(
      4,
      1,
      64,
      'Contents fetched at once out of turn, since processes wait for them.',
    ),
    demandDistanceBytes: Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      default: 4 * 1024 * 1024,
      description: 'A wanted content this far behind in the stream is fetched out of turn.',
    }),
    fromLimit: Count(32, 0, 256, 'Images at hand that are named to the proxy, to send only what is new.'),
  }),
  trust: Type.Object({
    unboundToc: Type.Union([Type.Literal('refuse'), Type.Literal('accept')], {
      default: 'refuse',
      description: 'What to do with images whose manifest does not name the digest of its table of contents.',
    }),
  }),
  health: Type.Object({
    port: Count(0, 0, 65535, 'Port on 127.0.0.1 for /healthz and /readyz; 0 turns it off.'),
  }),
  shutdown: Type.Object({
    drainLimitMs: Ms(10_000, 'After SIGTERM, what still runs is cut after this long.'),
  }),
  log: Type.Object({
    level: LogLevel('What is logged, to standard error, one JSON object per line.'),
  }),
});
export type WorkerConfig = Static<typeof WorkerConfigSchema>;

/** Rules across several values, for `loadConfig`. */
export function checkWorkerConfig(config: WorkerConfig): string[] {
  const faults: string[] = [];
  if (config.snapshotter.socket === config.control.socket) {
    faults.push('snapshotter.socket and control.socket: must be two different sockets');
  }
  if (config.download.retryDelayMaxMs < config.download.retryDelayMs) {
    faults.push('download.retryDelayMaxMs: smaller than download.retryDelayMs');
  }
  const { url, caFile, certFile, keyFile } = config.proxy;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    faults.push('proxy.certFile and proxy.keyFile: one is of no use without the other');
  }
  if (url.startsWith('http://') && (caFile ?? certFile) !== undefined) {
    faults.push('proxy.caFile and proxy.certFile: have no effect, since proxy.url is plain http');
  }
  return faults;
}
