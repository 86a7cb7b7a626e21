import { Command } from 'commander';
import { CliError } from './cli-error.ts';
import type { ContextSource } from './context.ts';
import { loginOption } from './login-option.ts';
import { formatTable } from './terminal.ts';
import { type TlsCliOptions, tlsOf, withTlsOptions } from './tls-options.ts';
import { NOTIFIED, notifyProxy } from './notify-client.ts';

interface NotifyOptions extends TlsCliOptions {
  readonly proxy: string;
  readonly token?: string;
  readonly user?: string;
}

export const DEFAULT_PROXY = 'http://127.0.0.1:8090';

export function notifyCommand(context: ContextSource): Command {
  return withTlsOptions(new Command('notify'))
    .summary('tell the proxy that an image was pushed')
    .description(
      'Tells the proxy to read the table of contents of a converted image, so that the first pull need not wait for it. ' +
        'It may be said any number of times.',
    )
    .argument(
      '<reference>',
      'the image: registry.example/redis:7, or redis:7 for the registry that the proxy fronts',
    )
    .option('--proxy <url>', 'the proxy', process.env['STARLIGHT_PROXY'] ?? DEFAULT_PROXY)
    .option('--token <token>', "the proxy's token, where it asks for one", process.env['STARLIGHT_TOKEN'])
    .option(
      '-u, --user <user:password>',
      'credentials for the registry (otherwise those of docker or podman login)',
    )
    .addHelpText(
      'after',
      '\nExample:\n  ctr-starlight notify --proxy http://proxy.example:8090 registry.example/redis:7',
    )
    .action(async (reference: string, options: NotifyOptions) => {
      const { terminal, signal } = context();
      const { proxy, token, user } = options;
      const credentials = loginOption(user);
      const answer = await notifyProxy({ proxy, token, credentials, reference, tls: tlsOf(options) }, signal);
      if (terminal.json) terminal.out(`${JSON.stringify(answer)}\n`);
      else {
        const rows = answer.images.map((i) => [
          i.platform,
          NOTIFIED[i.status],
          i.manifestDigest,
          i.reason ?? '',
        ]);
        terminal.out(formatTable([['PLATFORM', 'STATUS', 'MANIFEST', ''], ...rows]));
      }
      if (answer.images.every((image) => image.status === 'not-converted')) {
        throw new CliError('NOT_CONVERTED', `${reference} holds no converted image`, {
          hint: 'convert it first: ctr-starlight convert --help',
        });
      }
    });
}
