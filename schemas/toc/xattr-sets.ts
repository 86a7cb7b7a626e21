import { TocError } from './error.ts';
import type { Xattr } from './layer-toc.ts';
import { TOC_LIMIT } from './limits.ts';

/** Sets of extended attributes, each kept once; row 0 is the empty set. */
export class XattrSets {
  readonly #sets: (readonly Xattr[])[] = [[]];
  readonly #rows = new Map<string, number>([['', 0]]);
  #byteLength = 0;

  /**
   * The row of a set, whatever the order of its attributes. Of two with one name the later counts.
   *
   * @throws {TocError}
   */
  row(xattrs: readonly Xattr[]): number {
    if (xattrs.length === 0) return 0;
    const byName = new Map(xattrs.map(([name, value]) => [Buffer.from(name).toString('latin1'), value]));
    const set: Xattr[] = [...byName]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => [Uint8Array.from(Buffer.from(name, 'latin1')), Uint8Array.from(value)]);
    const key = set
      .map(([name, value]) => `${Buffer.from(name).toString('hex')}=${Buffer.from(value).toString('hex')}`)
      .join();
    const known = this.#rows.get(key);
    if (known !== undefined) return known;
    checkXattrs(set);
    this.#byteLength += set.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
    if (this.#byteLength > TOC_LIMIT.allXattrBytes || this.#sets.length >= TOC_LIMIT.xattrSets) {
      throw new TocError('limit', 'too many different extended attributes');
    }
    this.#rows.set(key, this.#sets.length);
    return this.#sets.push(set) - 1;
  }

  finish(): readonly (readonly Xattr[])[] {
    return this.#sets;
  }
}

/** @throws {TocError} unless names ascend and are none empty, too long or with a NUL. */
export function checkXattrs(set: readonly Xattr[]): void {
  if (set.length > TOC_LIMIT.xattrsOfOneRow) throw new TocError('limit', `${set.length} extended attributes`);
  let previous: Uint8Array | undefined;
  for (const [name, value] of set) {
    if (name.length === 0 || name.includes(0))
      throw new TocError('malformed', 'the name of an extended attribute');
    if (name.length > TOC_LIMIT.xattrNameBytes || value.length > TOC_LIMIT.xattrValueBytes) {
      throw new TocError('limit', 'the length of an extended attribute');
    }
    if (previous !== undefined && Buffer.compare(previous, name) >= 0) {
      throw new TocError('malformed', 'extended attributes out of order');
    }
    previous = name;
  }
}
