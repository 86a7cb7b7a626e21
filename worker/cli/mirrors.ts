import { resolve } from 'node:path';
import { Command } from 'commander';
import { UpstreamListSchema } from '../../schemas/upstreams/upstream-list.ts';
import { CertsDirectory, type Written } from './certs-directory.ts';
import { CliError } from './cli-error.ts';
import type { CommandContext, ContextSource } from './context.ts';
import { type HostsToml, hostsToml } from './hosts-toml.ts';
import { loginOption } from './login-option.ts';
import { DEFAULT_PROXY } from './notify.ts';
import { askProxy } from './proxy-request.ts';
import { type TlsCliOptions, tlsOf, withTlsOptions } from './tls-options.ts';
import { wantedMirrors } from './wanted-mirrors.ts';

const DEFAULT_CERTS_DIR = '/etc/containerd/certs.d';
const PATH = '/starlight/upstreams';

interface MirrorsOptions extends TlsCliOptions {
  readonly proxy: string;
  readonly user?: string;
  readonly write?: true;
  readonly certsDir: string;
  readonly default?: true;
}

/** As `-o json` prints it, below `files`. */
type MirrorFile = { readonly host: string; readonly path: string; readonly text: string } & Partial<Written>;

export function mirrorsCommand(context: ContextSource): Command {
  return withTlsOptions(new Command('mirrors'))
    .summary('point containerd at the proxy')
    .description(
      "Prints a hosts.toml for each host that the proxy stands for, as containerd's certs.d tree wants them: it then " +
        'asks the proxy for the images of those hosts, and their own registries where the proxy fails. With --write ' +
        'the files are written; what they replace is kept beside them as hosts.toml.bak-TIME.',
    )
    .argument('[host...]', 'only these: docker.io, registry.example:5000')
    .option(
      '--proxy <url>',
      'the proxy, as containerd is to reach it',
      process.env['STARLIGHT_PROXY'] ?? DEFAULT_PROXY,
    )
    .option('--write', 'write the files instead of printing them')
    .option('--certs-dir <dir>', "containerd's tree of hosts.toml files", DEFAULT_CERTS_DIR)
    .option('--default', 'also for all hosts that have no file of their own (_default)')
    .option('-u, --user <user:password>', 'login at the proxy (otherwise that of docker or podman login)')
    .addHelpText(
      'after',
      `
The files name --ca-file, --client-cert and --client-key, where given: they must stay where they are. containerd reads
the tree at each pull, without a restart, where its configuration says so (containerd 1.6 and 1.7; in 2.x the plugin is
"io.containerd.cri.v1.images"):
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${DEFAULT_CERTS_DIR}"
and for ctr and nerdctl by --hosts-dir ${DEFAULT_CERTS_DIR}.

Examples:
  ctr-starlight mirrors --proxy http://proxy.example:8090
  ctr-starlight mirrors --proxy http://proxy.example:8090 --write docker.io
  ctr-starlight mirrors --proxy https://proxy.example --ca-file /etc/starlight/ca.pem --default --write`,
    )
    .action(async (hosts: readonly string[], options: MirrorsOptions) => {
      await mirrors(hosts, options, context());
    });
}

async function mirrors(
  hosts: readonly string[],
  options: MirrorsOptions,
  { terminal, signal }: CommandContext,
): Promise<void> {
  const mirror = originOf(options.proxy);
  const tls = tlsOf(options);
  const request = {
    proxy: mirror,
    method: 'GET',
    path: PATH,
    tls,
    credentials: loginOption(options.user),
  } as const;
  const list = await askProxy(request, UpstreamListSchema, signal);
  const wanted = wantedMirrors(list, { hosts, withDefault: options.default === true });
  const greedy = list.upstreams.find(({ anyHost }) => anyHost);
  if (options.default === true && greedy !== undefined) {
    terminal.err(
      `warning: with _default, ${greedy.name} is asked for the images of every host: what has the same name there is taken for them\n`,
    );
  }
  const directory = new CertsDirectory(resolve(options.certsDir));
  const files: MirrorFile[] = [];
  for (const { host, server } of wanted) {
    const text = hostsToml({ server, mirror, ...(mirror.startsWith('https:') ? tlsFilesOf(options) : {}) });
    const path = await directory.fileOf(host);
    if (options.write !== true) {
      if (!terminal.json) terminal.out(`${files.length === 0 ? '' : '\n'}# ${path}\n${text}`);
      files.push({ host, path, text });
      continue;
    }
    const written = await directory.write(path, text, new Date(), signal);
    files.push({ host, path, text, ...written });
    if (!terminal.json) terminal.out(told(path, written));
  }
  if (terminal.json) terminal.out(`${JSON.stringify({ files })}\n`);
}

function told(path: string, written: Written): string {
  const { action } = written;
  return `${action.padEnd(9)}  ${path}${action === 'replaced' ? `  (was kept as ${written.backup})` : ''}\n`;
}

/** Scheme, host and port. @throws {CliError} where containerd could not take it as a mirror. */
function originOf(proxy: string): string {
  const url = URL.parse(proxy);
  const hint = 'give --proxy as http://proxy.example:8090 or https://proxy.example';
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new CliError('invalid-proxy', `${JSON.stringify(proxy)} is no URL of a proxy`, { hint });
  }
  if (
    url.username !== '' ||
    url.password !== '' ||
    url.pathname !== '/' ||
    url.search !== '' ||
    url.hash !== ''
  ) {
    const what = '--proxy must be scheme, host and port alone';
    throw new CliError('invalid-proxy', `${what}, without a login or a path`, { hint });
  }
  if (url.hostname.startsWith('[')) {
    throw new CliError(
      'invalid-proxy',
      'containerd 1.x cannot read an IPv6 address as the name of a mirror',
      {
        hint: 'give --proxy a host name, which may be one of /etc/hosts',
      },
    );
  }
  return url.origin;
}

function tlsFilesOf({ caFile, clientCert, clientKey }: MirrorsOptions): Pick<HostsToml, 'caFile' | 'client'> {
  return {
    ...(caFile === undefined ? {} : { caFile: resolve(caFile) }),
    ...(clientCert === undefined || clientKey === undefined
      ? {}
      : { client: { certFile: resolve(clientCert), keyFile: resolve(clientKey) } }),
  };
}
