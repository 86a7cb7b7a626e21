import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { ByteRange } from '../distribution/range.ts';

export interface Multipart {
  readonly contentType: string;
  readonly sizeBytes: number;
  /** @param open gives the bytes of a part: `end` is exclusive; called for one after the other */
  body(open: (start: number, end: number) => Promise<Readable>): Readable;
}

/** Several ranges in one body (RFC 9110, section 14.6). */
export function multipart(
  ranges: readonly ByteRange[],
  totalBytes: number,
  partType: string,
  boundary = randomBytes(15).toString('hex'),
): Multipart {
  const heads = ranges.map(({ start, end }) =>
    Buffer.from(
      `\r\n--${boundary}\r\nContent-Type: ${partType}\r\nContent-Range: bytes ${start}-${end}/${totalBytes}\r\n\r\n`,
    ),
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  const partBytes = ranges.reduce((sum, { start, end }) => sum + end - start + 1, 0);
  return {
    contentType: `multipart/byteranges; boundary=${boundary}`,
    sizeBytes: heads.reduce((sum, head) => sum + head.byteLength, 0) + partBytes + tail.byteLength,
    body: (open) => {
      async function* parts(): AsyncGenerator<Uint8Array> {
        for (const [at, { start, end }] of ranges.entries()) {
          yield heads[at] ?? tail; // there is one for each
          yield* await open(start, end + 1);
        }
        yield tail;
      }
      return Readable.from(parts(), { objectMode: false });
    },
  };
}
