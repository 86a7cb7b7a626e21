/**
 * A gzip member (RFC 1952): header, deflate stream, trailer.
 *
 *   header   1f 8b | 08 | flags 1 | mtime 4 | extra flags 1 | system 1
 *            then, as flags say: extra (length 2, bytes), name (NUL-ended), comment (NUL-ended), CRC-16
 *   trailer  CRC-32 4 | size modulo 2^32 4, little endian
 */
export const GZIP_TRAILER_BYTES = 8;

const FLAG = { headerCrc: 2, extra: 4, name: 8, comment: 16, reserved: 0xe0 } as const;

export interface GzipHeader {
  readonly lengthBytes: number;
  /** The extra field as it stands, without its length. */
  readonly extra: Buffer | undefined;
}

/** The header at the start of `bytes`; `undefined` when there is none, `incomplete` when it goes on behind. */
export function parseGzipHeader(bytes: Buffer): GzipHeader | 'incomplete' | undefined {
  const magic = [0x1f, 0x8b, 0x08];
  for (let i = 0; i < Math.min(3, bytes.length); i += 1) if (bytes[i] !== magic[i]) return undefined;
  if (bytes.length < 10) return 'incomplete';
  const flags = bytes[3] ?? 0;
  if ((flags & FLAG.reserved) !== 0) return undefined;
  let at = 10;
  let extra: Buffer | undefined;
  if ((flags & FLAG.extra) !== 0) {
    if (bytes.length < at + 2) return 'incomplete';
    const length = bytes.readUInt16LE(at);
    extra = bytes.subarray(at + 2, at + 2 + length);
    at += 2 + length;
  }
  for (const flag of [FLAG.name, FLAG.comment]) {
    if ((flags & flag) === 0) continue;
    const end = bytes.indexOf(0, at);
    if (end < 0) return 'incomplete';
    at = end + 1;
  }
  if ((flags & FLAG.headerCrc) !== 0) at += 2;
  if (at > bytes.length) return 'incomplete';
  return { lengthBytes: at, extra: extra === undefined ? undefined : Buffer.from(extra) };
}
