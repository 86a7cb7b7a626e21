import { createServer, type Server, type Socket, connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface LinkOptions {
  readonly targetPort: number;
  /** Bytes per second from the target to the client; no limit by default. */
  readonly downRate?: number;
}

const SLICE_BYTES = 8192;

/**
 * A TCP hop on loopback between a client and a server, whose weather a test makes: slow, cut, or with bytes
 * that change on the way.
 */
export class Link implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #targetPort: number;
  #downRate: number;
  #downBytes = 0;
  #connections = 0;
  #accepting = true;
  #damage: ((bytes: Buffer) => void) | undefined;

  private constructor(server: Server, options: LinkOptions) {
    this.#server = server;
    this.#targetPort = options.targetPort;
    this.#downRate = options.downRate ?? Number.POSITIVE_INFINITY;
    server.on('connection', (socket) => this.#join(socket));
  }

  static async open(options: LinkOptions): Promise<Link> {
    const server = createServer({ pauseOnConnect: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    return new Link(server, options);
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the link is closed');
    return address.port;
  }

  /** Bytes that have gone from the target to clients. */
  get downBytes(): number {
    return this.#downBytes;
  }

  get connections(): number {
    return this.#connections;
  }

  setDownRate(bytesPerSecond: number): void {
    this.#downRate = bytesPerSecond;
  }

  /** `damage` may change the bytes that come down, in place, before the client gets them. */
  setDamage(damage: ((bytes: Buffer) => void) | undefined): void {
    this.#damage = damage;
  }

  setTarget(port: number): void {
    this.#targetPort = port;
  }

  /** Ends what flows; with `stay` new connections are refused too, until `restore`. */
  cut(stay = false): void {
    this.#accepting = !stay;
    for (const socket of this.#sockets) socket.destroy();
  }

  restore(): void {
    this.#accepting = true;
  }

  #join(client: Socket): void {
    if (!this.#accepting) {
      client.destroy();
      return;
    }
    this.#connections++;
    const target = connect(this.#targetPort, '127.0.0.1');
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => other.destroy());
      socket.on('close', () => this.#sockets.delete(socket));
    }
    // The other way round is for #down to end: the target may be gone before its last bytes have been passed on.
    client.on('close', () => target.end());
    client.on('data', (bytes) => target.write(bytes));
    client.resume();
    void this.#down(target, client);
  }

  async #down(target: Socket, client: Socket): Promise<void> {
    try {
      for await (const chunk of target as AsyncIterable<Buffer>) {
        this.#damage?.(chunk);
        for (let at = 0; at < chunk.length; at += SLICE_BYTES) {
          const slice = chunk.subarray(at, at + SLICE_BYTES);
          if (client.destroyed) return;
          client.write(slice);
          this.#downBytes += slice.length;
          if (Number.isFinite(this.#downRate)) await delay((slice.length / this.#downRate) * 1000);
        }
      }
      client.end();
    } catch {
      client.destroy(); // the target went away: so does the client's connection
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut(true);
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
