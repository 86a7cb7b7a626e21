import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { BodyProgress } from '../../../server/limits/body-progress.ts';
import { openSocket } from '../../support/raw-http.ts';

const BYTES_PER_S = 1_000;
const GRACE_MS = 10_000;

// Real sockets, and a clock that the test turns: what counts is how much moves while how much time goes by.
describe('BodyProgress', () => {
  let nowMs: number;
  let progress: BodyProgress;
  let server: Server;
  let client: Socket;
  let arrived: Promise<[IncomingMessage, ServerResponse]>;
  beforeEach(async () => {
    nowMs = 0;
    progress = new BodyProgress({ bytesPerS: BYTES_PER_S, graceMs: GRACE_MS, nowMs: () => nowMs });
    const { promise, resolve } = Promise.withResolvers<[IncomingMessage, ServerResponse]>();
    arrived = promise;
    server = createServer((request, response) => {
      progress.watch(request, response);
      request.on('error', () => undefined);
      response.on('error', () => undefined);
      resolve([request, response]);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    client = await openSocket((server.address() as AddressInfo).port); // it listens on TCP
  });
  afterEach(() => {
    client.destroy();
    server.closeAllConnections();
    server.close();
  });

  const later = (ms: number): number => {
    nowMs += ms;
    return progress.sweep();
  };
  const POST = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n';

  describe('of what a client sends', () => {
    /** The request, read as fast as it comes; `send` waits until that has come. */
    async function upload() {
      client.write(POST);
      const [request] = await arrived;
      let received = 0;
      let told = () => undefined as undefined;
      request.on('data', (chunk: Buffer) => {
        received += chunk.length;
        told();
      });
      const send = async (bytes: number) => {
        const wanted = received + bytes;
        client.write(Buffer.alloc(bytes));
        while (received < wanted) {
          await new Promise<void>((resolve) => {
            told = () => void resolve();
          });
        }
      };
      return { request, send };
    }

    it('lets a slow one be that moves, for as long as it takes', async () => {
      const { send } = await upload();
      for (let round = 0; round < 100; round += 1) {
        await send(2_500);
        assert.equal(later(2_400), 0);
      }
    });

    it('lets one be that stands still for a while between bursts', async () => {
      const { send } = await upload();
      for (let round = 0; round < 10; round += 1) {
        await send(20_000);
        for (let part = 0; part < 4; part += 1) assert.equal(later(2_400), 0);
      }
    });

    it('cuts one that sends a byte now and then', async () => {
      const { request, send } = await upload();
      const gone = once(request.socket, 'close');
      let cut = 0;
      for (let round = 0; round < 5 && cut === 0; round += 1) {
        await send(1);
        cut = later(2_500);
      }
      assert.equal(cut, 1);
      await gone;
    });

    it('cuts one that sends nothing at all', async () => {
      await upload();
      assert.equal(later(GRACE_MS - 1), 0);
      assert.equal(later(1), 1);
    });

    it('does not hold against it what we have not read', async () => {
      client.write(POST);
      const [request] = await arrived;
      client.write(Buffer.alloc(1_000));
      while (request.readableLength < 1_000) await new Promise(setImmediate);
      for (let round = 0; round < 10; round += 1) assert.equal(later(GRACE_MS), 0);
    });

    it('does not count on once the body is there', async () => {
      client.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx');
      const [request] = await arrived;
      request.resume();
      await once(request, 'end');
      assert.equal(later(100 * GRACE_MS), 0);
    });
  });

  describe('of what a client takes', () => {
    const CHUNK = Buffer.alloc(64 << 10);
    /** What the kernel holds for a client that reads nothing is far less. */
    const WRITES = 512;

    async function download(): Promise<ServerResponse> {
      client.pause();
      client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      const [, response] = await arrived;
      return response;
    }

    it('cuts one that takes nothing, once there was time for what waits', async () => {
      const response = await download();
      for (let write = 0; write < WRITES; write += 1) response.write(CHUNK);
      await new Promise(setImmediate);
      assert.equal(later(0), 0);
      const pending = response.socket?.writableLength ?? 0;
      assert.ok(pending > 1 << 20, `${pending}`);
      const timeMs = GRACE_MS + (pending / BYTES_PER_S) * 1000;
      assert.equal(later(timeMs), 0);
      assert.equal(later(1), 1);
    });

    it('lets a slow one be that takes what waits within its time, again and again', async () => {
      const response = await download();
      for (let round = 0; round < 4; round += 1) {
        client.pause();
        const writes = Array.from(
          { length: WRITES },
          () => new Promise<void>((resolve) => void response.write(CHUNK, () => resolve())),
        );
        await new Promise(setImmediate);
        later(0);
        const pending = response.socket?.writableLength ?? 0;
        assert.ok(pending > 1 << 20, `${pending}`);
        assert.equal(later(GRACE_MS + (pending / BYTES_PER_S) * 1000 - 1), 0);
        client.resume();
        await Promise.all(writes);
      }
    });

    it('does not hold against it that we have nothing to send', async () => {
      const response = await download();
      response.write('beginning');
      while ((response.socket?.writableLength ?? 0) > 0) await new Promise(setImmediate);
      for (let round = 0; round < 10; round += 1) assert.equal(later(100 * GRACE_MS), 0);
    });
  });

  it('watches nothing where the rate is 0', async () => {
    const idle = new BodyProgress({ bytesPerS: 0, graceMs: 1, nowMs: () => nowMs });
    client.write(POST);
    const [request, response] = await arrived;
    idle.watch(request, response);
    nowMs += 1_000_000;
    assert.equal(idle.sweep(), 0);
  });
});
