import { once } from 'node:events';
import { createServer, type Server } from 'node:http';

/** `/healthz` answers as long as the process does; `/readyz` once containerd may call it. On loopback only. */
export class HealthServer {
  readonly #server: Server;
  #ready = false;

  constructor() {
    this.#server = createServer((request, response) => {
      const known = request.url === '/healthz' || request.url === '/readyz';
      const good = request.url === '/healthz' || (known && this.#ready);
      response.writeHead(known ? (good ? 200 : 503) : 404, { 'content-type': 'text/plain' });
      response.end(known ? (good ? 'ok\n' : 'not ready\n') : 'not found\n');
    });
  }

  set ready(value: boolean) {
    this.#ready = value;
  }

  async listen(port: number): Promise<void> {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}
