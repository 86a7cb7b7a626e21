import type { SparseFile } from './sparse-file.ts';

/** An extended attribute of an entry: name without the PAX prefix, and value, both raw. */
export type RawXattr = readonly [name: Buffer, value: Buffer];

/** The kinds of tar entries that a layer may hold. */
export type TarEntryType = 'file' | 'hardlink' | 'symlink' | 'chardev' | 'blockdev' | 'directory' | 'fifo';

/**
 * One entry of a tar archive as Go's archive/tar (hence containerd) understands its headers: ustar fields,
 * overridden by PAX records, overridden by GNU long names. Nothing is normalised yet.
 */
export interface TarEntry {
  readonly type: TarEntryType;
  readonly name: Buffer;
  /** Of links; otherwise empty. */
  readonly linkName: Buffer;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of data that follow the header; 0 for everything but files. */
  readonly sizeBytes: number;
  readonly mtimeSec: number;
  /** 0 to 999,999,999, added to the seconds. */
  readonly mtimeNsec: number;
  readonly devMajor: number;
  readonly devMinor: number;
  readonly xattrs: readonly RawXattr[];
  /** The data are the segments of a sparse file and perhaps a map of them, not its content. */
  readonly sparse: SparseFile | undefined;
}
