import { DigestIndex } from './digest-index.ts';
import { GrowingBytes, growing } from './growing.ts';
import { KIND, type Kind, NONE } from './kind.ts';
import type { LayerToc } from './layer-toc.ts';
import type { LayerTree } from './layer-tree.ts';
import type { Source } from './merged-names.ts';
import { Tree } from './tree.ts';
import { TreeXattrs } from './tree-xattrs.ts';

const TYPE: Readonly<Record<Kind, number>> = {
  [KIND.directory]: 0o040000,
  [KIND.file]: 0o100000,
  [KIND.symlink]: 0o120000,
  [KIND.hardlink]: 0, // never an inode's own kind
  [KIND.chardev]: 0o020000,
  [KIND.blockdev]: 0o060000,
  [KIND.fifo]: 0o010000,
  [KIND.whiteout]: 0,
  [KIND.opaque]: 0,
};

/** containerd, archive/time.go: 2^63 - 1 nanoseconds after 1970. */
const MAX_TIME_SEC = 9_223_372_036;
const MAX_TIME_NSEC = 854_775_807;

/** Writes the columns of a tree, directory by directory, breadth first. */
export class TreeWriter {
  readonly #columns = {
    ...{ mode: growing.u32(), uid: growing.u32(), gid: growing.u32(), size: growing.f64() },
    ...{ mtimeSec: growing.f64(), mtimeNsec: growing.u32(), nlink: growing.u32(), rdev: growing.u32() },
    ...{ xattr: growing.u32(), content: growing.u32() },
    ...{ linkStart: growing.u32(), linkLength: growing.u32() },
    ...{
      parent: growing.u32(),
      firstEntry: growing.u32(),
      entryCount: growing.u32(),
      nameEntry: growing.u32(),
    },
    entryInode: growing.u32(),
  };
  readonly #names = new GrowingBytes();
  readonly #links = new GrowingBytes();
  readonly #xattrs = new TreeXattrs();
  readonly #contents: ContentTable;
  /** By layer tree: tree inode + 1 of its inodes with several names. */
  readonly #linked = new Map<LayerTree, Map<number, number>>();
  readonly #directories: { readonly inode: number; readonly sources: readonly Source[] }[] = [];
  #next = 0;
  #current = 0;

  /** @param layers the lowest first @param trees theirs, the uppermost first */
  constructor(layers: readonly LayerToc[], trees: readonly LayerTree[]) {
    this.#contents = new ContentTable(layers);
    for (const tree of trees) this.#linked.set(tree, new Map());
  }

  root(sources: readonly Source[]): void {
    const top = sources[0];
    if (top === undefined) this.#emptyRoot();
    else this.#inode(top.tree, 0, 0, NONE);
    this.#directories.push({ inode: 0, sources });
  }

  /** Turns to the next directory and returns what it is merged from. */
  nextDirectory(): readonly Source[] | undefined {
    const next = this.#directories[this.#next];
    if (next === undefined) return undefined;
    // What has been written is needed no more; a queue that is shifted would be slow.
    this.#directories[this.#next] = DONE;
    this.#next += 1;
    this.#current = next.inode;
    this.#columns.firstEntry.set(next.inode, this.#columns.entryInode.length);
    return next.sources;
  }

  /** Appends a name to the current directory. */
  entry(tree: LayerTree, name: number, directories: readonly Source[]): void {
    const columns = this.#columns;
    const entry = columns.entryInode.length;
    const layerInode = tree.inodeOf(name);
    const shared = tree.nlink.at(layerInode) > 1 ? this.#linked.get(tree) : undefined;
    let inode = shared?.get(layerInode);
    if (inode === undefined) {
      inode = this.#inode(tree, layerInode, this.#current, entry);
      shared?.set(layerInode, inode);
    }
    columns.entryInode.push(inode);
    this.#names.push(tree.text.subarray(tree.nameStart.at(name), tree.nameEnd.at(name)));
    columns.entryCount.set(this.#current, columns.entryCount.at(this.#current) + 1);
    if (directories.length > 0) {
      columns.nlink.set(this.#current, columns.nlink.at(this.#current) + 1);
      this.#directories.push({ inode, sources: directories });
    }
  }

  finish(): Tree {
    const columns = this.#columns;
    const names = this.#names.finish();
    return new Tree({
      mode: columns.mode.finish(),
      uid: columns.uid.finish(),
      gid: columns.gid.finish(),
      size: columns.size.finish(),
      mtimeSec: columns.mtimeSec.finish(),
      mtimeNsec: columns.mtimeNsec.finish(),
      nlink: columns.nlink.finish(),
      rdev: columns.rdev.finish(),
      xattr: columns.xattr.finish(),
      content: columns.content.finish(),
      linkStart: columns.linkStart.finish(),
      linkLength: columns.linkLength.finish(),
      parent: columns.parent.finish(),
      firstEntry: columns.firstEntry.finish(),
      entryCount: columns.entryCount.finish(),
      nameEntry: columns.nameEntry.finish(),
      linkBytes: this.#links.finish().bytes,
      xattrBytes: this.#xattrs.finish(),
      entryInode: columns.entryInode.finish(),
      nameOffset: names.offsets,
      nameBytes: names.bytes,
      ...this.#contents.finish(),
    });
  }

  #inode(tree: LayerTree, inode: number, parent: number, entry: number): number {
    const columns = this.#columns;
    const kind = tree.kind.at(inode) as Kind; // a layer tree holds nothing else
    const toc = (tree.origin.get(inode) ?? tree).toc;
    const row = tree.row.at(inode);
    const target = kind === KIND.symlink ? toc.linkAt(row) : undefined;
    const content = kind === KIND.file ? this.#contents.row(toc, toc.content[row] ?? NONE) : NONE;
    const device = kind === KIND.chardev || kind === KIND.blockdev;
    const sec = tree.mtimeSec.at(inode);
    const nsec = tree.mtimeNsec.at(inode);
    const timely = sec >= 0 && (sec < MAX_TIME_SEC || (sec === MAX_TIME_SEC && nsec <= MAX_TIME_NSEC));
    columns.uid.push(tree.uid.at(inode));
    columns.gid.push(tree.gid.at(inode));
    columns.size.push(target === undefined ? this.#contents.size(content) : target.length);
    columns.mtimeSec.push(timely ? sec : 0);
    columns.mtimeNsec.push(timely ? nsec : 0);
    columns.nlink.push(kind === KIND.directory ? 2 : tree.nlink.at(inode));
    columns.rdev.push(device ? encodeDevice(toc.devMajor[row] ?? 0, toc.devMinor[row] ?? 0) : 0);
    columns.xattr.push(this.#xattrs.offset(tree.xattrs[inode] ?? []));
    columns.content.push(content);
    columns.linkStart.push(target === undefined ? 0 : this.#links.byteLength);
    columns.linkLength.push(target?.length ?? 0);
    if (target !== undefined) this.#links.push(target);
    columns.parent.push(parent);
    columns.firstEntry.push(0);
    columns.entryCount.push(0);
    columns.nameEntry.push(entry);
    return columns.mode.push(TYPE[kind] | (kind === KIND.symlink ? 0o777 : tree.mode.at(inode)));
  }

  /** An image without layers is an empty directory. */
  #emptyRoot(): void {
    const { mode, nlink, content, nameEntry, ...rest } = this.#columns;
    mode.push(TYPE[KIND.directory] | 0o755);
    nlink.push(2);
    content.push(NONE);
    nameEntry.push(NONE);
    const { entryInode: _, ...others } = rest;
    for (const column of Object.values(others)) column.push(0);
  }
}

const DONE = { inode: 0, sources: [] };

/** Linux, new_encode_dev: 12 bits of major and 20 of minor, interleaved. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

/** The contents that the tree uses, numbered as they are met. */
class ContentTable {
  readonly #layers: readonly LayerToc[];
  readonly #index: DigestIndex;
  /** By layer: the row in `#index` of each of its contents. */
  readonly #unique = new Map<LayerToc, Uint32Array>();
  /** By row in `#index`: the lowest layer that has it, and its row there. */
  readonly #layer = growing.u16();
  readonly #row = growing.u32();
  /** By row in `#index`: row in the tree + 1. */
  readonly #rows: Uint32Array;
  readonly #used = growing.u32();

  constructor(layers: readonly LayerToc[]) {
    this.#layers = layers;
    this.#index = new DigestIndex(layers.reduce((sum, layer) => sum + layer.contentCount, 0));
    for (const [number, layer] of layers.entries()) {
      const unique = new Uint32Array(layer.contentCount);
      for (let row = 0; row < unique.length; row += 1) {
        unique[row] = this.#index.add(layer.contents.digest, row);
        if (this.#index.length === this.#row.length) continue;
        this.#layer.push(number);
        this.#row.push(row);
      }
      this.#unique.set(layer, unique);
    }
    this.#rows = new Uint32Array(this.#index.length);
  }

  row(layer: LayerToc, content: number): number {
    const unique = content === NONE ? undefined : this.#unique.get(layer)?.[content];
    if (unique === undefined) return NONE;
    if (this.#rows[unique] === 0) this.#rows[unique] = this.#used.push(unique) + 1;
    return (this.#rows[unique] ?? 0) - 1;
  }

  size(row: number): number {
    if (row === NONE) return 0;
    const unique = this.#used.at(row);
    return this.#layers[this.#layer.at(unique)]?.contents.sizeBytes[this.#row.at(unique)] ?? 0;
  }

  finish(): Pick<Tree, 'contentDigest' | 'contentSize' | 'contentLayer' | 'contentRow'> {
    const used = this.#used.finish();
    const contentDigest = new Uint8Array(used.length * 32);
    const contentLayer = Uint16Array.from(used, (unique) => this.#layer.at(unique));
    const contentRow = Uint32Array.from(used, (unique) => this.#row.at(unique));
    for (let row = 0; row < used.length; row += 1) {
      const from = (contentRow[row] ?? 0) * 32;
      const digests = this.#layers[contentLayer[row] ?? 0]?.contents.digest;
      if (digests !== undefined) contentDigest.set(digests.subarray(from, from + 32), row * 32);
    }
    const contentSize = Float64Array.from(used, (_, row) => this.size(row));
    return { contentDigest, contentSize, contentLayer, contentRow };
  }
}
