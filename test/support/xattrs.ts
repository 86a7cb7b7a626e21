import koffi from 'koffi';

/** Extended attributes of a path that is given as raw bytes; links are not followed. Linux only. */

const libc = koffi.load('libc.so.6');
const llistxattr = libc.func('long llistxattr(const uint8_t *path, uint8_t *list, size_t size)');
const lgetxattr = libc.func(
  'long lgetxattr(const uint8_t *path, const uint8_t *name, uint8_t *value, size_t size)',
);

const MAX_XATTR_BYTES = 65_536; // the kernel's own limit for a value and for a list

function cString(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.from([0])]);
}

/** Names (Latin-1) and values (hex), sorted by name. @throws {Error} with errno where the kernel refuses. */
export function xattrsOf(path: Uint8Array): (readonly [name: string, valueHex: string])[] {
  const list = Buffer.alloc(MAX_XATTR_BYTES);
  const length = Number(llistxattr(cString(path), list, list.length));
  if (length < 0) {
    if (koffi.errno() === koffi.os.errno['EOPNOTSUPP']) return [];
    throw new Error(`llistxattr of ${Buffer.from(path).toString('latin1')}: errno ${koffi.errno()}`);
  }
  const names = list.subarray(0, length).toString('latin1').split('\0').filter(Boolean).sort();
  return names.map((name) => {
    const value = Buffer.alloc(MAX_XATTR_BYTES);
    const size = Number(lgetxattr(cString(path), cString(Buffer.from(name, 'latin1')), value, value.length));
    if (size < 0) throw new Error(`lgetxattr ${name}: errno ${koffi.errno()}`);
    return [name, value.subarray(0, size).toString('hex')] as const;
  });
}
