import type { Socket } from 'node:net';
import { clientKey } from './client-address.ts';

/** Closes connections of a client address that has as many open as it may. */
export class ConnectionCount {
  readonly #limit: number;
  readonly #open = new Map<string, number>();

  /** 0 sets no limit. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  admit(socket: Socket): void {
    if (this.#limit === 0) return;
    const client = clientKey(socket.remoteAddress ?? '');
    const open = this.#open.get(client) ?? 0;
    if (open >= this.#limit) {
      socket.destroy();
      return;
    }
    this.#open.set(client, open + 1);
    socket.once('close', () => {
      const left = (this.#open.get(client) ?? 1) - 1;
      if (left === 0) this.#open.delete(client);
      else this.#open.set(client, left);
    });
  }
}
