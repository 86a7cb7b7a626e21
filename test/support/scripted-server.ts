import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Script = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

/** An HTTP server on a free loopback port that does what a test says, and remembers what it was asked. */
export class ScriptedServer implements AsyncDisposable {
  readonly #server: Server;
  readonly requests: IncomingMessage[] = [];

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(script: Script): Promise<ScriptedServer> {
    const server = createServer((request, response) => {
      scripted.requests.push(request);
      // A script that throws is the test's own fault: the cut connection makes the test fail.
      Promise.resolve(script(request, response)).catch(() => response.destroy());
    });
    const scripted = new ScriptedServer(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return scripted;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`; // it listens on TCP
  }

  get url(): string {
    return `http://${this.host}`;
  }

  get last(): IncomingMessage {
    const request = this.requests.at(-1);
    if (request === undefined) throw new Error('nothing was asked');
    return request;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }
}
