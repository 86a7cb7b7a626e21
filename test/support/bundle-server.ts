import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { encodeBundleHeader } from '../../schemas/bundle/header-codec.ts';
import { type BundleHeader, PAYLOAD_ENCODING } from '../../schemas/bundle/header.ts';
import { packToc } from '../../schemas/bundle/toc-packing.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import { digestOf } from '../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { encodeImageToc } from '../../schemas/toc/image-toc.ts';
import { mergeLayers } from '../../schemas/toc/merge.ts';
import type { MadeImage } from '../extensions/starlight/made-image.ts';

/** A bundle made by hand, so that a test can spoil it. */
export interface MadeBundle {
  readonly bytes: Buffer;
  /** Where each payload begins, and at the end where the bundle ends. */
  readonly positions: readonly number[];
}

export interface BundleChanges {
  readonly name?: string;
  readonly reference?: string;
  /** Changes the header before it is encoded. */
  readonly header?: (header: BundleHeader) => BundleHeader;
  /** Leaves out the payloads from this one on. */
  readonly payloadLimit?: number;
}

/** The bundle that brings the whole of an image, a payload per payload of its layers. */
export function makeBundle(image: MadeImage, changes: BundleChanges = {}): MadeBundle {
  const tree = mergeLayers(image.layers);
  const firstRow: number[] = [];
  let rows = 0;
  for (const layer of image.layers) {
    firstRow.push(rows);
    rows += layer.contentCount;
  }
  const payloadOf = new Map<string, number>();
  const payloads: Buffer[] = [];
  const files: { content: number; payload: number; innerOffset: number }[] = [];
  for (let content = 0; content < tree.contentCount; content += 1) {
    const layer = tree.contentLayer[content] ?? 0;
    const row = tree.contentRow[content] ?? 0;
    const toc = image.layers[layer];
    const blob = image.blobs[layer + 1]; // the first is the config
    if (toc === undefined || blob === undefined) throw new Error('a content of no layer');
    const source = toc.contents.payload[row] ?? 0;
    const key = `${layer} ${source}`;
    if (!payloadOf.has(key)) {
      if (payloads.length >= (changes.payloadLimit ?? Number.POSITIVE_INFINITY)) continue;
      const offset = toc.payloads.offset[source] ?? 0;
      payloadOf.set(key, payloads.length);
      payloads.push(blob.bytes.subarray(offset, offset + (toc.payloads.length[source] ?? 0)));
    }
    const innerOffset = toc.contents.innerOffset[row] ?? 0;
    files.push({ content: (firstRow[layer] ?? 0) + row, payload: payloadOf.get(key) ?? 0, innerOffset });
  }
  const [config] = image.blobs;
  if (config === undefined) throw new Error('an image without config');
  const header: BundleHeader = {
    images: [
      {
        name: changes.name ?? 'test/app',
        reference: changes.reference ?? 'test/app:v1',
        manifestDigest: image.manifest.digest,
        platform: 'linux/amd64',
        tocDigest: image.tocDigest,
        tocBound: true,
        layers: image.layers.map((layer, row) => ({
          digest: image.blobs[row + 1]?.digest ?? config.digest,
          size: image.blobs[row + 1]?.bytes.length ?? 0,
          diffId: layer.diffId,
        })),
      },
    ],
    from: [],
    unknownFrom: [],
    blobs: [image.manifest, config],
    tocs: [packToc(encodeImageToc(image.layers))],
    files: {
      content: Uint32Array.from(files, ({ content }) => content),
      payload: Uint32Array.from(files, ({ payload }) => payload),
      innerOffset: Float64Array.from(files, ({ innerOffset }) => innerOffset),
    },
    payloads: {
      encoding: new Uint8Array(payloads.length).fill(PAYLOAD_ENCODING.gzipMember),
      length: Float64Array.from(payloads, (payload) => payload.length),
      dictionary: new Uint8Array(0),
    },
  };
  const head = encodeBundleHeader(changes.header?.(header) ?? header);
  const positions = [head.length];
  for (const payload of payloads) positions.push((positions.at(-1) ?? 0) + payload.length);
  return { bytes: Buffer.concat([head, ...payloads]), positions };
}

export interface AskedFor {
  readonly method: string;
  readonly url: URL;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

type Answer = (request: IncomingMessage, response: ServerResponse, url: URL) => boolean;

/** A proxy that serves one handmade bundle, and the blobs of its image by ranges. What it does wrong, a test says. */
export class BundleServer implements AsyncDisposable {
  readonly #server: Server;
  readonly asked: AskedFor[] = [];
  readonly #blobs = new Map<Digest, Buffer>();
  bundle: Buffer = Buffer.alloc(0);
  /** The entity tag is of these bytes; another one with each change of `bundle`. */
  etag: string | undefined;
  /** Answers in place of the server when it returns true. */
  intercept: Answer | undefined;
  /** Changes what a range of a blob brings. */
  spoilBlob: ((bytes: Buffer) => Buffer) | undefined;
  /** Sends of the next answers to the question for a bundle only so many bytes, then cuts. */
  readonly cuts: number[] = [];
  /** Sends of the next bundle only so many bytes, and then nothing until `cutHeld`. */
  holdAt: number | undefined;
  #held: ServerResponse | undefined;

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', (request, response) => this.#serve(request, response));
  }

  static async start(): Promise<BundleServer> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new BundleServer(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`; // it listens on TCP
  }

  /** The questions for bundles so far. */
  get deltas(): readonly AskedFor[] {
    return this.asked.filter(({ url }) => url.pathname === '/starlight/delta');
  }

  get blobRanges(): readonly AskedFor[] {
    return this.asked.filter(({ url }) => url.pathname.includes('/blobs/'));
  }

  offer(bundle: MadeBundle, image: MadeImage): void {
    this.bundle = bundle.bytes;
    this.etag = `"${digestOf(bundle.bytes)}"`;
    for (const blob of image.blobs) this.#blobs.set(blob.digest, blob.bytes);
  }

  /** Cuts the answer that is held; from now on every answer is cut at once if `andAll`. */
  cutHeld(andAll: boolean): void {
    if (andAll) this.intercept = (request) => request.socket.destroy() !== undefined;
    this.#held?.socket?.destroy();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://server');
    const { range, authorization } = request.headers;
    this.asked.push({ method: request.method ?? '', url, range, authorization });
    if (this.intercept?.(request, response, url) === true) return;
    if (url.pathname === '/starlight/delta') this.#sendBundle(request, response);
    else this.#sendBlob(url, range, response);
  }

  #sendBlob(url: URL, range: string | undefined, response: ServerResponse): void {
    const digest = /^\/v2\/test\/app\/blobs\/(.+)$/.exec(url.pathname)?.[1];
    const blob = digest === undefined ? undefined : this.#blobs.get(digest as Digest);
    const span = /^bytes=(\d+)-(\d+)$/.exec(range ?? '');
    if (blob === undefined || span === null) {
      response.writeHead(404).end(JSON.stringify({ errors: [{ code: 'BLOB_UNKNOWN', message: 'none' }] }));
      return;
    }
    const part = blob.subarray(Number(span[1]), Number(span[2]) + 1);
    response.writeHead(206, { 'content-range': `bytes ${span[1]}-${span[2]}/${blob.length}` });
    response.end(this.spoilBlob?.(Buffer.from(part)) ?? part);
  }

  #sendBundle(request: IncomingMessage, response: ServerResponse): void {
    const start = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1];
    const partial = start !== undefined && request.headers['if-range'] === this.etag;
    const from = partial ? Number(start) : 0;
    const body = this.bundle.subarray(from);
    response.writeHead(partial ? 206 : 200, {
      'content-type': MEDIA_TYPE.starlightBundle,
      'content-length': body.length,
      ...(this.etag === undefined ? {} : { etag: this.etag }),
      ...(partial
        ? { 'content-range': `bytes ${from}-${this.bundle.length - 1}/${this.bundle.length}` }
        : {}),
    });
    if (this.holdAt !== undefined) {
      response.write(body.subarray(0, this.holdAt));
      this.#held = response;
      this.holdAt = undefined;
      return;
    }
    const cut = this.cuts.shift();
    if (cut === undefined) response.end(body);
    else response.write(body.subarray(0, cut), () => response.socket?.destroy());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
