import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readlinkSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileBody } from '../../../server/registry/file-body.ts';
import { sendAnswer } from '../../../server/send-answer.ts';
import { FileSendError, FileSender } from '../../../server/sendfile/file-sender.ts';
import { skip } from '../../support/skip.ts';

const FILE_BYTES = 8 << 20;

/** Serves `/start/size` of one file, and tells how each sending ended. */
class Served implements AsyncDisposable {
  readonly #server: Server;
  readonly #files: FileSender;
  readonly directory: string;
  readonly content = randomBytes(FILE_BYTES);
  /** Of each answer: undefined where it was sent whole. */
  readonly ends: unknown[] = [];
  readonly #enders = new Set<() => void>();

  private constructor(server: Server, files: FileSender, directory: string) {
    this.#server = server;
    this.#files = files;
    this.directory = directory;
  }

  static async start(
    pace: { bytesPerS: number; graceMs: number } = { bytesPerS: 0, graceMs: 0 },
  ): Promise<Served> {
    const files = await FileSender.create(
      pace,
      (error) => assert.fail(String(error)),
      (reason) => assert.fail(String(reason)),
    );
    assert.ok(files);
    const server = createServer();
    const served = new Served(server, files, mkdtempSync(join(tmpdir(), 'sl-sendfile-')));
    writeFileSync(served.file, served.content);
    server.on('request', (request, response) => {
      void served.#answer(request.url ?? '', response).then(
        () => served.#ended(undefined),
        (error: unknown) => {
          response.destroy();
          served.#ended(error);
        },
      );
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return served;
  }

  get file(): string {
    return join(this.directory, 'file');
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port; // it listens on TCP
  }

  url(start: number, size: number): string {
    return `http://127.0.0.1:${this.port}/${start}/${size}`;
  }

  /** Resolves when `count` answers have ended. */
  async ended(count: number): Promise<void> {
    while (this.ends.length < count) {
      await new Promise<void>((resolve) => this.#enders.add(resolve));
    }
  }

  close(): Promise<void> {
    return this.#files.close();
  }

  async #answer(url: string, response: ServerResponse): Promise<void> {
    const [, start = '', size = ''] = url.split('/');
    const body = new FileBody(await open(this.file), Number(start), Number(size));
    const gone = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) gone.abort(new Error('the client went away'));
    });
    const headers = [['Content-Length', size]] as const;
    await sendAnswer({ status: 200, headers, body }, response.req, response, gone.signal, this.#files);
  }

  #ended(error: unknown): void {
    this.ends.push(error);
    for (const look of [...this.#enders]) look();
    this.#enders.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await this.#files.close();
    rmSync(this.directory, { recursive: true });
  }
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const openFiles = (path: string) =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(path);
    } catch {
      return false; // closed while we looked
    }
  });

describe('FileSender', () => {
  before(function () {
    if (process.platform !== 'linux') skip(this, 'not Linux');
  });

  for (const [what, start, size] of [
    ['the whole file', 0, FILE_BYTES],
    ['its end', FILE_BYTES - 100_001, 100_001],
    ['a part within pages', 4097, 1_234_567],
    ['a part so small that it is streamed', 10, 500],
    ['nothing', 5, 0],
  ] as const) {
    it(`sends ${what}`, async () => {
      await using served = await Served.start();
      const answer = await fetch(served.url(start, size));
      assert.equal(
        sha256(new Uint8Array(await answer.arrayBuffer())),
        sha256(served.content.subarray(start, start + size)),
      );
      await served.ended(1);
      assert.deepEqual(served.ends, [undefined]);
      assert.deepEqual(openFiles(served.directory), []);
    });
  }

  it('sends answer after answer on one connection, those asked for ahead too', async () => {
    await using served = await Served.start();
    const socket = connect(served.port, '127.0.0.1');
    const sizes = [300_000, 20, 2_000_000, 70_000, 1];
    socket.write(sizes.map((size) => `GET /7/${size} HTTP/1.1\r\nHost: x\r\n\r\n`).join(''));
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await served.ended(sizes.length);
    socket.end();
    await once(socket, 'close');
    let rest = Buffer.concat(chunks);
    for (const size of sizes) {
      const body = rest.indexOf('\r\n\r\n') + 4;
      assert.match(rest.subarray(0, body).toString(), new RegExp(`Content-Length: ${size}\r\n`));
      assert.ok(rest.subarray(body, body + size).equals(served.content.subarray(7, 7 + size)));
      rest = rest.subarray(body + size);
    }
    assert.equal(rest.length, 0);
  });

  it('sends to many clients at once', async () => {
    await using served = await Served.start();
    const expected = sha256(served.content);
    const sums = await Promise.all(
      Array.from({ length: 12 }, async () => {
        const answer = await fetch(served.url(0, FILE_BYTES));
        return sha256(new Uint8Array(await answer.arrayBuffer()));
      }),
    );
    assert.deepEqual([...new Set(sums)], [expected]);
    await served.ended(12);
    assert.deepEqual(openFiles(served.directory), []);
  }).timeout(60_000);

  it('lets go of a client that goes away, and of its file', async () => {
    await using served = await Served.start();
    const socket = connect(served.port, '127.0.0.1');
    socket.write(`GET /0/${FILE_BYTES} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await once(socket, 'data');
    socket.pause();
    socket.destroy();
    await served.ended(1);
    assert.ok(served.ends[0] instanceof Error);
    assert.deepEqual(openFiles(served.directory), []);
  });

  it('cuts a client that takes nothing', async () => {
    await using served = await Served.start({ bytesPerS: 0, graceMs: 300 });
    const socket = connect(served.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(`GET /0/${FILE_BYTES} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await once(socket, 'data');
    socket.pause();
    await served.ended(1);
    const [end] = served.ends;
    assert.ok(end instanceof FileSendError && end.outcome === 'too-slow', String(end));
    socket.destroy();
  });

  it('cuts a client that takes less than it must', async () => {
    await using served = await Served.start({ bytesPerS: 100_000, graceMs: 400 });
    const socket = connect(served.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(`GET /0/${FILE_BYTES} HTTP/1.1\r\nHost: x\r\n\r\n`);
    socket.on('readable', () => undefined); // read by the timer alone
    const timer = setInterval(() => socket.read(Math.min(10, socket.readableLength)), 20);
    await served.ended(1);
    clearInterval(timer);
    socket.destroy();
    const [end] = served.ends;
    assert.ok(end instanceof FileSendError && end.outcome === 'too-slow', String(end));
  });

  it('leaves a client be that is slow and moves', async () => {
    await using served = await Served.start({ bytesPerS: 1000, graceMs: 2000 });
    const answer = await fetch(served.url(0, FILE_BYTES));
    let takenBytes = 0;
    for await (const chunk of answer.body ?? []) {
      takenBytes += chunk.length;
      if (takenBytes % (1 << 20) < chunk.length) await new Promise((resolve) => setTimeout(resolve, 400));
    }
    assert.equal(takenBytes, FILE_BYTES);
  });

  it('cuts the connection where the file is shorter than was said', async () => {
    await using served = await Served.start();
    truncateSync(served.file, 1_000_000);
    const answer = await fetch(served.url(0, FILE_BYTES));
    await assert.rejects(answer.arrayBuffer());
    await served.ended(1);
    const [end] = served.ends;
    assert.ok(end instanceof FileSendError && end.outcome === 'file-too-short', String(end));
  });

  it('cuts what is under way when it is closed, and leaves later files to be streamed', async () => {
    await using served = await Served.start();
    const socket = connect(served.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(`GET /0/${FILE_BYTES} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await once(socket, 'data');
    socket.pause();
    await served.close();
    await served.ended(1);
    assert.ok(served.ends[0] instanceof FileSendError);
    const answer = await fetch(served.url(0, FILE_BYTES));
    assert.equal((await answer.arrayBuffer()).byteLength, FILE_BYTES);
    socket.destroy();
  });
});
