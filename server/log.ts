import { type DestinationStream, type Logger, pino } from 'pino';
import type { ServerConfig } from './config.ts';

export type { Logger } from 'pino';

/** Query parameters whose values may be logged; of any other, an upload's state or a token, only the name is. */
const PLAIN_PARAMETERS: ReadonlySet<string> = new Set([
  'artifactType',
  'digest',
  'digest-algorithm',
  'from',
  'last',
  'mount',
  'n',
  'ns',
  'platform',
  'tag',
  'to',
]);
const MAX_LOGGED_URL_CHARS = 1024;

/** One JSON object per line. Headers with credentials are hidden wherever an object with headers is logged. */
export function createLogger(level: ServerConfig['log']['level'], destination?: DestinationStream): Logger {
  const options = {
    level,
    base: { name: 'starlight-proxy' },
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: {
      paths: ['authorization', 'cookie', 'proxy-authorization', 'set-cookie'].flatMap((name) => [
        `headers["${name}"]`,
        `*.headers["${name}"]`,
      ]),
      censor: '[redacted]',
    },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

/** A request's path and query, fit for a log. */
export function loggedUrl(url: string): string {
  const [path = '', query] = splitOnce(url, '?');
  // A wrapped upload session holds an upstream's URL, with whatever token that one put into it.
  const shown = path.replace(/\/blobs\/uploads\/~[^/]*/, '/blobs/uploads/~…');
  if (query === undefined) return shown.slice(0, MAX_LOGGED_URL_CHARS);
  const parts = query.split('&').map((part) => {
    const [name = '', value] = splitOnce(part, '=');
    return value === undefined || PLAIN_PARAMETERS.has(name) ? part : `${name}=[redacted]`;
  });
  return `${shown}?${parts.join('&')}`.slice(0, MAX_LOGGED_URL_CHARS);
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
