import { type Static, Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { LayerError } from './layer-error.ts';
import type { TarEntry, TarEntryType } from './tar-entry.ts';

/** Names that eStargz puts into the tar beside the image's own (stargz-snapshotter, docs/estargz.md). */
export const ESTARGZ_NAME = {
  toc: 'stargz.index.json',
  prefetch: '.prefetch.landmark',
  noPrefetch: '.no.prefetch.landmark',
} as const;

/** The one byte that a landmark holds. */
export const LANDMARK_CONTENT = 0x0f;

const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Text = Type.String();

const EstargzEntrySchema = Type.Object({
  name: Text,
  type: Type.Union(
    (['dir', 'reg', 'symlink', 'hardlink', 'char', 'block', 'fifo', 'chunk'] as const).map((type) =>
      Type.Literal(type),
    ),
  ),
  size: Type.Optional(Count),
  /** RFC 3339, in whole seconds; left out for the epoch. */
  modtime: Type.Optional(Text),
  linkName: Type.Optional(Text),
  mode: Type.Optional(Count),
  uid: Type.Optional(Count),
  gid: Type.Optional(Count),
  userName: Type.Optional(Text),
  groupName: Type.Optional(Text),
  offset: Type.Optional(Count),
  innerOffset: Type.Optional(Count),
  devMajor: Type.Optional(Count),
  devMinor: Type.Optional(Count),
  /** Base 64 by name. */
  xattrs: Type.Optional(Type.Union([Type.Record(Text, Text), Type.Null()])),
  digest: Type.Optional(Text),
  chunkOffset: Type.Optional(Count),
  chunkSize: Type.Optional(Count),
  chunkDigest: Type.Optional(Text),
});

/** An entry of eStargz's own table of contents: a tar entry, or a further chunk of the file before it. */
export type EstargzEntry = Static<typeof EstargzEntrySchema>;

const EstargzTocSchema = Type.Object({
  version: Type.Literal(1),
  entries: Type.Array(EstargzEntrySchema),
});
const check = TypeCompiler.Compile(EstargzTocSchema);

/** @throws {LayerError} `toc-mismatch` */
export function parseEstargzToc(bytes: Buffer): readonly EstargzEntry[] {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new LayerError('toc-mismatch', `${ESTARGZ_NAME.toc} is not JSON`, { cause });
  }
  if (check.Check(value)) return value.entries;
  const first = check.Errors(value).First();
  throw new LayerError('toc-mismatch', `${ESTARGZ_NAME.toc}: ${first?.path ?? ''} ${first?.message ?? ''}`);
}

const TAR_TYPE: Readonly<Record<Exclude<EstargzEntry['type'], 'chunk'>, TarEntryType>> = {
  dir: 'directory',
  reg: 'file',
  symlink: 'symlink',
  hardlink: 'hardlink',
  char: 'chardev',
  block: 'blockdev',
  fifo: 'fifo',
};

export const ESTARGZ_TYPE: Readonly<Record<TarEntryType, Exclude<EstargzEntry['type'], 'chunk'>>> = {
  directory: 'dir',
  file: 'reg',
  symlink: 'symlink',
  hardlink: 'hardlink',
  chardev: 'char',
  blockdev: 'block',
  fifo: 'fifo',
};

/** The tar entry that an entry of the table claims to stand for. @throws {LayerError} `toc-mismatch` */
export function claimedEntry(entry: EstargzEntry & { type: keyof typeof TAR_TYPE }): TarEntry {
  const mtimeMs = entry.modtime === undefined ? 0 : Date.parse(entry.modtime);
  if (Number.isNaN(mtimeMs)) throw new LayerError('toc-mismatch', 'a malformed modtime');
  return {
    type: TAR_TYPE[entry.type],
    name: Buffer.from(entry.name),
    linkName: Buffer.from(entry.linkName ?? ''),
    mode: (entry.mode ?? 0) & 0o7777,
    uid: entry.uid ?? 0,
    gid: entry.gid ?? 0,
    sizeBytes: entry.type === 'reg' ? (entry.size ?? 0) : 0,
    mtimeSec: Math.floor(mtimeMs / 1000),
    mtimeNsec: 0,
    devMajor: entry.devMajor ?? 0,
    devMinor: entry.devMinor ?? 0,
    xattrs: Object.entries(entry.xattrs ?? {}).map(([name, value]) => [
      Buffer.from(name),
      Buffer.from(value, 'base64'),
    ]),
    sparse: undefined,
  };
}
