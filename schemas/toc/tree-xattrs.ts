import { GrowingBytes } from './growing.ts';
import type { Xattr } from './layer-toc.ts';

/*
 * The sets of extended attributes of a tree in one byte string: at the offset that an inode names, the number
 * of attributes (u16), then each: length of the name (u16), of the value (u32), name, value; little endian.
 * Offset 0 holds a padding byte, so that 0 can mean "none".
 */

/** Collects sets, each kept once. */
export class TreeXattrs {
  readonly #bytes = new GrowingBytes();
  readonly #offsets = new Map<string, number>();

  constructor() {
    this.#bytes.push(new Uint8Array(1));
  }

  /** The offset of a set. Its names must ascend. */
  offset(set: readonly Xattr[]): number {
    if (set.length === 0) return 0;
    const encoded = encode(set);
    const key = encoded.toString('latin1');
    let offset = this.#offsets.get(key);
    if (offset === undefined) {
      offset = this.#bytes.byteLength;
      this.#offsets.set(key, offset);
      this.#bytes.push(encoded);
    }
    return offset;
  }

  finish(): Uint8Array {
    return this.#bytes.finish().bytes;
  }
}

function encode(set: readonly Xattr[]): Buffer {
  const count = Buffer.alloc(2);
  count.writeUInt16LE(set.length);
  const parts = set.flatMap(([name, value]) => {
    const head = Buffer.alloc(6);
    head.writeUInt16LE(name.length);
    head.writeUInt32LE(value.length, 2);
    return [head, name, value];
  });
  return Buffer.concat([count, ...parts]);
}

/** The set at an offset of the bytes that {@link TreeXattrs} made. */
export function decodeXattrs(bytes: Uint8Array, offset: number): Xattr[] {
  if (offset === 0) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = offset + 2;
  return Array.from({ length: view.getUint16(offset, true) }, () => {
    const value = at + 6 + view.getUint16(at, true);
    const end = value + view.getUint32(at + 2, true);
    const xattr: Xattr = [bytes.subarray(at + 6, value), bytes.subarray(value, end)];
    at = end;
    return xattr;
  });
}
