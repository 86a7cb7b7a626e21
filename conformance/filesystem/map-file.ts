/** Prints a file that it reads by way of mmap(2). Argument: the path. */
import { fstatSync, openSync, writeSync } from 'node:fs';
import koffi from 'koffi';

const PROT_READ = 1;
const MAP_PRIVATE = 2;
const libc = koffi.load(null);
const mmap: (
  address: null,
  bytes: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
) => unknown = libc.func(
  'void *mmap(void *address, size_t bytes, int protection, int flags, int fd, int64_t offset)',
);

const fd = openSync(process.argv[2] ?? '', 'r');
const { size } = fstatSync(fd);
const bytes = Buffer.from(koffi.view(mmap(null, size, PROT_READ, MAP_PRIVATE, fd, 0), size));
for (let done = 0; done < size; ) done += writeSync(1, bytes, done);
