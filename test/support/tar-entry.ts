/** What a name, link target or extended attribute may be: text is UTF-8; bytes are taken as they are. */
export type RawText = string | Uint8Array;

export type TarEntryType = 'file' | 'hardlink' | 'symlink' | 'character' | 'block' | 'directory' | 'fifo';

/** The parts of a file that hold data; everything between them is a hole. Ascending, not overlapping. */
export type SparseFile = {
  /** `gnu`: old GNU header (type S). `pax`: GNU sparse 1.0, the map in front of the data. */
  readonly form: 'gnu' | 'pax';
  readonly sizeBytes: number;
  readonly segments: readonly { readonly offset: number; readonly data: Uint8Array }[];
};

/** One entry of a tar archive to be made for a test. Names carry no `./` and no slash unless written so. */
export type TarEntry = {
  readonly type: TarEntryType;
  readonly name: RawText;
  readonly mode: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly uname?: string;
  readonly gname?: string;
  /** Seconds since 1970; may be negative or fractional (then a PAX record carries it). */
  readonly mtimeSeconds?: number;
  /** Of a file only. */
  readonly content?: RawText;
  readonly sparse?: SparseFile;
  /** Of a hard or symbolic link. */
  readonly target?: RawText;
  readonly major?: number;
  readonly minor?: number;
  readonly xattrs?: Readonly<Record<string, RawText>>;
  /** Further PAX records, written last, hence with the last word. */
  readonly pax?: Readonly<Record<string, RawText>>;
  /** How what does not fit a ustar header is written; `gnu` has no xattrs and whole seconds. Default `pax`. */
  readonly format?: 'pax' | 'gnu';
};

type Extra = Partial<Omit<TarEntry, 'type' | 'name' | 'content' | 'target'>>;

export function file(name: RawText, content: RawText = '', extra: Extra = {}): TarEntry {
  return { type: 'file', name, mode: 0o644, content, ...extra };
}

export function directory(name: RawText, extra: Extra = {}): TarEntry {
  return { type: 'directory', name, mode: 0o755, ...extra };
}

export function symlink(name: RawText, target: RawText, extra: Extra = {}): TarEntry {
  return { type: 'symlink', name, target, mode: 0o777, ...extra };
}

/** `target` is the name of an entry of this or of a lower layer. */
export function hardlink(name: RawText, target: RawText, extra: Extra = {}): TarEntry {
  return { type: 'hardlink', name, target, mode: 0o644, ...extra };
}

export function device(
  name: RawText,
  type: 'character' | 'block',
  major: number,
  minor: number,
  extra: Extra = {},
): TarEntry {
  return { type, name, major, minor, mode: 0o600, ...extra };
}

export function fifo(name: RawText, extra: Extra = {}): TarEntry {
  return { type: 'fifo', name, mode: 0o600, ...extra };
}

/** Removes `path` of the lower layers (image-spec, layer.md#whiteouts). */
export function whiteout(path: string): TarEntry {
  const slash = path.lastIndexOf('/') + 1;
  return file(`${path.slice(0, slash)}.wh.${path.slice(slash)}`, '', { mode: 0o600 });
}

/** Hides everything that lower layers hold in `directoryPath` (image-spec, layer.md#opaque-whiteout). */
export function opaque(directoryPath: string): TarEntry {
  return file(`${directoryPath}/.wh..wh..opq`, '', { mode: 0o600 });
}
