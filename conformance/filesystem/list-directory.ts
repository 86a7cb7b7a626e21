/**
 * Lists a directory with getdents64(2) and a small buffer, as programs with small buffers do.
 * Arguments: directory, bytes of the buffer. Prints one name per line, in hex, "." and ".." included.
 */
import { closeSync, constants, openSync } from 'node:fs';
import koffi from 'koffi';

const getdents64: (fd: number, target: Buffer, bytes: number) => number = koffi
  .load(null)
  .func('int64_t getdents64(int fd, void *target, size_t bytes)');

const [, , directory = '.', bytes = '512'] = process.argv;
const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
const buffer = Buffer.alloc(Number(bytes));
for (;;) {
  const length = getdents64(fd, buffer, buffer.length);
  if (length < 0) throw new Error(`getdents64: errno ${koffi.errno()}`);
  if (length === 0) break;
  // linux_dirent64: ino u64 0 | off i64 8 | reclen u16 16 | type u8 18 | name 19, ended by NUL
  for (let at = 0; at < length; at += buffer.readUInt16LE(at + 16)) {
    const end = buffer.indexOf(0, at + 19);
    process.stdout.write(`${buffer.subarray(at + 19, end).toString('hex')}\n`);
  }
}
closeSync(fd);
