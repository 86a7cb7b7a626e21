import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Digest } from '../../../schemas/oci/digest.ts';
import { parseRange } from '../../../server/distribution/range.ts';
import { ScriptedServer } from '../../support/scripted-server.ts';

export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';

export function sha256(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

/** Bytes that differ everywhere. */
export function pattern(sizeBytes: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  for (let at = 0; at + 4 <= sizeBytes; at += 4)
    bytes.writeUInt32LE(Math.imul(at + seed, 2654435761) >>> 0, at);
  return bytes;
}

interface Content {
  bytes: Buffer;
  /** What it is sent as: another than its own shows what a wrong upstream does. */
  digest: Digest;
}

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
}

/** What may happen to an answer before or while it is sent. */
export type Twist = (request: IncomingMessage, response: ServerResponse) => 'taken' | undefined;

/**
 * A registry with private repositories, that counts what it is asked and what it sends: the origin that a mirror
 * is to spare. Bodies can be held back after their first half.
 */
export class Origin implements AsyncDisposable {
  readonly asked: Asked[] = [];
  /** Bytes of blobs and manifests handed out, digest by digest. */
  readonly sentBytes = new Map<string, number>();
  /** Authorization values that may read a repository; a repository without an entry is open to all. */
  readonly readers = new Map<string, readonly string[]>();
  twist: Twist = () => undefined;
  /** Bodies wait for this after their first half. */
  gate: Promise<void> | undefined;
  readonly #blobs = new Map<string, Content>();
  readonly #manifests = new Map<string, Content>();
  #server: ScriptedServer | undefined;

  static async start(): Promise<Origin> {
    const origin = new Origin();
    origin.#server = await ScriptedServer.start((request, response) => origin.#answer(request, response));
    return origin;
  }

  get url(): string {
    if (this.#server === undefined) throw new Error('not started');
    return this.#server.url;
  }

  addBlob(name: string, bytes: Buffer, digest = sha256(bytes)): Digest {
    this.#blobs.set(`${name}/${digest}`, { bytes, digest });
    return digest;
  }

  addManifest(name: string, tag: string | undefined, bytes: Buffer, digest = sha256(bytes)): Digest {
    this.#manifests.set(`${name}/${digest}`, { bytes, digest });
    if (tag !== undefined) this.#manifests.set(`${name}/${tag}`, { bytes, digest });
    return digest;
  }

  remove(name: string, reference: string): void {
    this.#blobs.delete(`${name}/${reference}`);
    this.#manifests.delete(`${name}/${reference}`);
  }

  /** How many requests, of a method where one is given, had this in their path. */
  count(part: string, method?: string): number {
    return this.asked.filter(
      (one) => one.path.includes(part) && (method === undefined || one.method === method),
    ).length;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request;
    this.asked.push({ method, path: url, range: headers.range });
    if (this.twist(request, response) === 'taken') return;
    const [, name = '', kind = '', reference = ''] =
      /^\/v2\/(.+)\/(blobs|manifests)\/([^/]+)$/.exec(url) ?? [];
    const readers = this.readers.get(name);
    if (readers !== undefined && !readers.includes(headers.authorization ?? '')) {
      const status = headers.authorization === undefined ? 401 : 403;
      response.writeHead(status, { 'WWW-Authenticate': 'Basic realm="origin"' });
      response.end('{"errors":[{"code":"DENIED","message":"the origin says no"}]}');
      return;
    }
    if (method === 'PUT' || method === 'DELETE') {
      request.resume();
      if (method === 'DELETE') this.remove(name, reference);
      response.writeHead(method === 'PUT' ? 201 : 202, { 'Content-Length': '0' }).end();
      return;
    }
    const content = (kind === 'blobs' ? this.#blobs : this.#manifests).get(`${name}/${reference}`);
    if (content === undefined) {
      response.writeHead(404, { 'Content-Type': 'application/json' });
      response.end('{"errors":[{"code":"UNKNOWN_HERE","message":"the origin has none"}]}');
      return;
    }
    await this.#send(request, response, kind, content);
  }

  async #send(
    request: IncomingMessage,
    response: ServerResponse,
    kind: string,
    { bytes, digest }: Content,
  ): Promise<void> {
    const range = kind === 'blobs' ? parseRange(request.headers.range, bytes.length) : 'whole';
    const part = typeof range === 'string' ? undefined : range;
    const body = part === undefined ? bytes : bytes.subarray(part.start, part.end + 1);
    response.writeHead(part === undefined ? 200 : 206, {
      'Content-Type': kind === 'blobs' ? 'application/octet-stream' : MANIFEST_TYPE,
      'Content-Length': body.length,
      'Docker-Content-Digest': digest,
      ETag: `"${digest}"`,
      'X-Secret-Of-One-Answer': 'yes',
      ...(part === undefined ? {} : { 'Content-Range': `bytes ${part.start}-${part.end}/${bytes.length}` }),
    });
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    const half = this.gate === undefined ? body.length : body.length >> 1;
    response.write(body.subarray(0, half));
    await this.gate;
    this.sentBytes.set(digest, (this.sentBytes.get(digest) ?? 0) + body.length);
    response.end(body.subarray(half));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
  }
}
