import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

/** Takes connections on a free loopback port, and says nothing. */
export class SilentServer implements AsyncDisposable {
  readonly #sockets: Socket[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((socket) => this.#sockets.push(socket.on('error', () => undefined)));
  }

  static async start(): Promise<SilentServer> {
    const silent = new SilentServer();
    silent.#server.listen(0, '127.0.0.1');
    await once(silent.#server, 'listening');
    return silent;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port; // it listens on TCP
  }

  /** Fulfils with the next connection: ask before it can come. */
  async connected(): Promise<void> {
    await once(this.#server, 'connection');
  }

  /** Cuts its connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }
}
