import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { type Link, type LinkSettings, statsSince } from './link.ts';

const REQUEST_LIMIT_BYTES = 512;

/** What a request would change. @throws {RangeError} when a word is not `rtt=MS` or `rate=MBIT`. */
export function parseSettings(words: readonly string[], settings: LinkSettings): LinkSettings {
  const next = { ...settings };
  for (const word of words) {
    const match = /^(rtt|rate)=(\d+(?:\.\d+)?)$/.exec(word);
    if (match === null) throw new RangeError(`not rtt=MS or rate=MBIT: ${word.slice(0, 80)}`);
    next[match[1] === 'rtt' ? 'rttMs' : 'rateMbit'] = Number(match[2]);
  }
  return next;
}

/**
 * Answers requests on a Unix socket: one line each, answered with one line of JSON.
 *   stats | reset (both answer the counters since the last reset) | set rtt=MS rate=MBIT | cut | join
 */
export class Control implements AsyncDisposable {
  readonly #server = createServer({ allowHalfOpen: true });
  readonly #link: Link;
  #settings: LinkSettings;
  #baseline: Awaited<ReturnType<Link['stats']>> | undefined;

  constructor(link: Link, settings: LinkSettings) {
    this.#link = link;
    this.#settings = settings;
    this.#server.on('connection', (socket) => {
      let request = '';
      socket.on('error', () => socket.destroy());
      socket.on('data', (chunk) => {
        request += chunk.toString();
        if (request.length > REQUEST_LIMIT_BYTES) socket.destroy();
        else if (request.endsWith('\n')) {
          this.answer(request.trim()).then(
            (answer) => socket.end(`${JSON.stringify(answer)}\n`),
            (error: Error) => socket.end(`${JSON.stringify({ error: error.message })}\n`),
          );
        }
      });
    });
  }

  async listen(path: string): Promise<void> {
    rmSync(path, { force: true });
    this.#server.listen(path);
    await once(this.#server, 'listening');
  }

  async answer(request: string): Promise<unknown> {
    const [verb, ...words] = request.split(/\s+/);
    switch (verb) {
      case 'stats':
      case 'reset': {
        const now = await this.#link.stats();
        const since = this.#baseline === undefined ? now : statsSince(this.#baseline, now);
        if (verb === 'reset') this.#baseline = now;
        return { driver: this.#link.driver, ...this.#settings, ...since };
      }
      case 'set':
        return this.#apply(parseSettings(words, this.#settings));
      case 'cut':
      case 'join':
        return this.#apply({ ...this.#settings, cut: verb === 'cut' });
      default:
        throw new RangeError(`not a request: ${request.slice(0, 80)}`);
    }
  }

  async #apply(settings: LinkSettings): Promise<LinkSettings> {
    await this.#link.apply(settings);
    this.#settings = settings;
    return settings;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** Sends one request to a running link; gives its answer, a line of JSON. */
export async function ask(path: string, request: string, signal: AbortSignal): Promise<string> {
  const socket = createConnection(path);
  const abort = () => socket.destroy(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    socket.write(`${request}\n`);
    return (await text(socket)).trim();
  } finally {
    signal.removeEventListener('abort', abort);
    socket.destroy();
  }
}
