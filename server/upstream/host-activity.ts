import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { buildConnector } from 'undici';

/** How often somebody who waits looks whether anything was heard. */
const LOOK_MS = 200;

interface Host {
  readonly sockets: Set<Socket>;
  /** Of connections that have ended. */
  endedBytes: number;
}

export interface Watch {
  readonly signal: AbortSignal;
  /** Ends it. */
  stop(): void;
}

export interface WatchOptions {
  /** The watch begins when this has ended: whoever receives it has nothing to say before. */
  readonly after?: Readable | undefined;
  /** Called after half of the time: makes the host say something if it is alive, ending with the signal. */
  readonly nudge?: (signal: AbortSignal) => void;
}

/**
 * What has been heard of hosts on any connection, so that one which is busy can be told from one which is dead: the
 * former sends something to somebody all the time.
 */
export class HostActivity {
  /** Hosts without a connection are forgotten. */
  readonly #hosts = new Map<string, Host>();

  /** Connects as undici does, and listens. */
  connector(options: buildConnector.BuildOptions): buildConnector.connector {
    const connect = buildConnector(options);
    return (to, callback) => {
      connect(to, (...result) => {
        // With an error there is none, whatever the type says of it.
        if (result[0] === null) this.#add(hostKey(to.protocol, to.hostname, to.port), result[1]);
        callback(...result);
      });
    };
  }

  /** Aborts when nothing at all has been heard of the host for `silenceMs`. */
  watch(url: URL, silenceMs: number, { after, nudge }: WatchOptions = {}): Watch {
    const key = hostKey(url.protocol, url.hostname, url.port);
    const controller = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const begin = (): void => {
      let heardBytes = this.#bytes(key);
      let heardMs = performance.now();
      let nudged = false;
      const look = (): void => {
        const bytes = this.#bytes(key);
        const nowMs = performance.now();
        if (bytes !== heardBytes) [heardMs, nudged] = [nowMs, false];
        heardBytes = bytes;
        if (nowMs - heardMs >= silenceMs) controller.abort(new SilenceError());
        else if (!nudged && nowMs - heardMs >= silenceMs / 2) {
          nudged = true;
          nudge?.(controller.signal);
        }
      };
      timer = setInterval(look, Math.min(LOOK_MS, silenceMs / 4));
    };
    if (after === undefined) begin();
    else after.once('end', begin);
    const stop = (): void => {
      after?.off('end', begin);
      clearInterval(timer);
    };
    return { signal: controller.signal, stop };
  }

  #add(key: string, socket: Socket): void {
    const host = this.#hosts.get(key) ?? { sockets: new Set(), endedBytes: 0 };
    this.#hosts.set(key, host);
    host.sockets.add(socket);
    socket.once('close', () => {
      host.sockets.delete(socket);
      host.endedBytes += socket.bytesRead;
      if (host.sockets.size === 0) this.#hosts.delete(key);
    });
  }

  #bytes(key: string): number {
    const host = this.#hosts.get(key);
    if (host === undefined) return 0;
    let bytes = host.endedBytes;
    for (const socket of host.sockets) bytes += socket.bytesRead;
    return bytes;
  }
}

/** Nothing was heard of a host for too long. */
export class SilenceError extends Error {
  constructor() {
    super('the host is silent');
    this.name = 'SilenceError';
  }
}

function hostKey(protocol: string, hostname: string, port: string): string {
  // An IPv6 address has brackets in a URL and none where it is connected to.
  return `${protocol}//${hostname.replace(/^\[|\]$/g, '')}:${port}`;
}
