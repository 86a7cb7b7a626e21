import { tmpdir } from 'node:os';
import { Command } from 'commander';
import { type Conversion, convert } from '../../schemas/image/convert.ts';
import { ImageError } from '../../schemas/image/image-error.ts';
import { type ImageName, parseImageName } from '../../schemas/image/image-name.ts';
import { Endpoints } from '../../schemas/image/open-image.ts';
import { DockerConfigError } from '../../schemas/registry-auth/docker-config.ts';
import { loginCredentials } from '../../schemas/registry-auth/docker-credentials.ts';
import { parsePlatform } from '../../schemas/oci/platform.ts';
import { formatReference, type Reference } from '../../schemas/oci/reference.ts';
import type { Platform } from '../../schemas/oci/types.ts';
import { CliError } from './cli-error.ts';
import type { ContextSource } from './context.ts';
import { conversionReport, reportText } from './convert-report.ts';
import { ConvertProgress } from './convert-progress.ts';
import { DEFAULT_PROXY } from './notify.ts';
import { NOTIFIED, type NotifyAnswer, notifyProxy } from './notify-client.ts';
import { proxyUrl } from './proxy-url.ts';
import type { Terminal } from './terminal.ts';
import { type TlsCliOptions, tlsOf, withTlsOptions } from './tls-options.ts';

interface ConvertCliOptions extends TlsCliOptions {
  readonly platform: string;
  readonly estargz?: boolean;
  readonly notify?: boolean;
  readonly proxy: string;
  readonly token?: string;
  readonly insecureSource?: boolean;
  readonly insecureDestination?: boolean;
}

export function convertCommand(context: ContextSource): Command {
  return withTlsOptions(new Command('convert'))
    .summary('make an image that can be started before it has arrived')
    .description(
      'Copies an image so that its files can be had one by one. The result is an ordinary image to everybody ' +
        'else: only the framing of its gzip layers is new, its configuration and diffIDs are those of the source. ' +
        'Needs neither the daemon nor root. SRC and DST are registry.example/name:tag or oci:DIRECTORY[:TAG].',
    )
    .argument('<src>', 'the image, or index of images, to convert')
    .argument('<dst>', 'where the result goes')
    .option('--platform <list>', 'all, or some of an index: linux/amd64,linux/arm64', 'all')
    .option('--estargz', 'make the layers valid eStargz as well; this changes diffIDs and configuration')
    .option('--notify', 'tell the proxy of the result')
    .option('--proxy <url>', 'the proxy, for --notify', process.env['STARLIGHT_PROXY'] ?? DEFAULT_PROXY)
    .option('--token <token>', "the proxy's token, where it asks for one", process.env['STARLIGHT_TOKEN'])
    .option('--insecure-source', 'allow plain HTTP and unknown certificates at the source')
    .option('--insecure-destination', 'allow plain HTTP and unknown certificates at the destination')
    .addHelpText(
      'after',
      `
Credentials are those of docker login and podman login. A registry on this machine is spoken to in plain HTTP,
unless --ca-file or --client-cert is given.

Examples:
  ctr-starlight convert registry.example/redis:7 registry.example/starlight/redis:7
  ctr-starlight convert --platform linux/amd64 --notify docker.io/redis:7 127.0.0.1:5000/redis:7
  ctr-starlight convert oci:/tmp/layout:redis oci:/tmp/converted:redis`,
    )
    .action(async (source: string, destination: string, options: ConvertCliOptions) => {
      const { terminal, signal } = context();
      const platforms = parsePlatforms(options.platform);
      if (options.notify === true) {
        namedRegistry(destination);
        proxyUrl(options.proxy);
      }
      const progress = new ConvertProgress(terminal);
      try {
        await using endpoints = new Endpoints({
          source,
          destination,
          credentials: loginCredentials(process.env),
          insecureSource: options.insecureSource ?? false,
          insecureDestination: options.insecureDestination ?? false,
          tls: tlsOf(options),
        });
        const conversion = await convert(
          endpoints.source,
          endpoints.sink,
          { platforms, estargz: options.estargz ?? false, listener: progress },
          signal,
        );
        progress.clear();
        await report(terminal, conversion, destination, options, signal);
      } catch (error) {
        progress.clear();
        if (error instanceof ImageError) {
          throw new CliError(error.kind, error.message, { cause: error, ...hintOf(error) });
        }
        if (error instanceof DockerConfigError) {
          throw new CliError('docker-config', error.message, { cause: error });
        }
        throw error;
      }
    });
}

function hintOf({ fault }: ImageError): { hint?: string } {
  if (fault.kind === 'unauthorized' || fault.kind === 'denied') {
    return { hint: 'log in with docker login or podman login' };
  }
  if (fault.kind === 'disk' && fault.directory === tmpdir()) {
    return { hint: 'layers lie there until they have been sent: TMPDIR names another place' };
  }
  return {};
}

/** The destination, which a proxy can be told of. @throws {CliError} when it is a directory. */
function namedRegistry(destination: string): Reference {
  const name = readName(destination);
  if (name.kind === 'registry') return name.reference;
  throw new CliError('invalid-name', 'a proxy cannot be told of an image in a directory', {
    hint: 'convert to a registry, or leave --notify away',
  });
}

function readName(text: string): ImageName {
  try {
    return parseImageName(text);
  } catch (error) {
    if (error instanceof ImageError) throw new CliError(error.kind, error.message, { cause: error });
    throw error;
  }
}

function parsePlatforms(list: string): Platform[] | undefined {
  if (list === 'all') return undefined;
  try {
    return list.split(',').map((one) => parsePlatform(one.trim()));
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new CliError('invalid-platform', cause.message, { cause });
  }
}

async function report(
  terminal: Terminal,
  conversion: Conversion,
  destination: string,
  options: ConvertCliOptions,
  signal: AbortSignal,
): Promise<void> {
  const summary = conversionReport(conversion);
  if (!terminal.json) terminal.out(reportText(summary, destination));
  let notified: NotifyAnswer | undefined;
  try {
    if (options.notify === true) notified = await notify(destination, options, signal);
  } finally {
    // Also when the proxy could not be told: the image is converted.
    const told = notified === undefined ? {} : { notified };
    if (terminal.json) terminal.out(`${JSON.stringify({ ...summary, ...told })}\n`);
  }
  if (terminal.json || notified === undefined) return;
  for (const image of notified.images) terminal.out(`proxy: ${image.platform} ${NOTIFIED[image.status]}\n`);
}

/** @throws {CliError} saying that the image is converted none the less. */
async function notify(
  destination: string,
  options: ConvertCliOptions,
  signal: AbortSignal,
): Promise<NotifyAnswer> {
  const reference = formatReference(namedRegistry(destination));
  const { proxy, token } = options;
  const credentials = loginCredentials(process.env);
  try {
    return await notifyProxy({ proxy, reference, credentials, token, tls: tlsOf(options) }, signal);
  } catch (error) {
    if (!(error instanceof CliError) || signal.aborted) throw error;
    throw new CliError(error.code, `converted, but the proxy could not be told: ${error.message}`, {
      cause: error,
      hint: `tell it later: ctr-starlight notify --proxy ${proxy} ${reference}`,
    });
  }
}
