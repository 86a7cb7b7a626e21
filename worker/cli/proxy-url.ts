import { CliError } from './cli-error.ts';

/** The URL of a proxy as `--proxy` gives it. @throws {CliError} `invalid-proxy`. */
export function proxyUrl(text: string): URL {
  const url = URL.parse(text);
  if (url !== null && (url.protocol === 'http:' || url.protocol === 'https:')) return url;
  throw new CliError('invalid-proxy', `not the URL of a proxy: ${JSON.stringify(text.slice(0, 200))}`, {
    hint: 'as in http://proxy.example:8090',
  });
}
