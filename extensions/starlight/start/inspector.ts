import type { Tree } from '../../../schemas/toc/tree.ts';
import { type ElfNeeds, type ReadableFile, readElf } from './elf.ts';
import type { FileReader } from './file-reader.ts';
import { START_LIMIT } from './limits.ts';
import { readText, type Shebang, shebangOf } from './text.ts';

/** What a file is, seen from its first bytes. */
export type Inspected =
  | { readonly kind: 'elf'; readonly elf: ElfNeeds }
  /** `shebang` is undefined for what is only called a script, `*.sh`. */
  | { readonly kind: 'script'; readonly shebang: Shebang | undefined; readonly text: string }
  | { readonly kind: 'other' };

const OTHER: Inspected = { kind: 'other' };

/** Looks into files, into each once, and into so many as START_LIMIT allows. */
export class Inspector {
  readonly #tree: Tree;
  readonly #reader: FileReader;
  readonly #looks = new Map<number, Promise<Inspected>>();
  readonly #texts = new Map<number, Promise<string>>();
  readonly #counted = new Set<number>();
  #leftBytes: number = START_LIMIT.inspectedBytes;

  constructor(tree: Tree, reader: FileReader) {
    this.#tree = tree;
    this.#reader = reader;
  }

  /**
   * Beyond the limit every file is of kind `other`. Asked in the same order it answers the same.
   * @throws {RegistryReadError}
   */
  async inspect(inode: number): Promise<Inspected> {
    if (!this.#count(inode)) return OTHER;
    return await this.#look(inode);
  }

  /** Begins to look into files that will be asked for: several at a time are sooner there than one by one. */
  foresee(inodes: readonly number[]): void {
    let count = this.#counted.size;
    let leftBytes = this.#leftBytes;
    for (const inode of inodes) {
      if (this.#counted.has(inode)) continue;
      if (!this.#allowed(inode, count, leftBytes)) return;
      count += 1;
      leftBytes -= this.#costBytes(inode);
      this.#look(inode).catch(() => undefined); // whoever asks for it is told
    }
  }

  /** The beginning of a file as text, empty beyond the limit. @throws {RegistryReadError} */
  async text(inode: number): Promise<string> {
    if (!this.#count(inode)) return '';
    const text = this.#texts.get(inode) ?? this.#reader.look(inode, readText);
    this.#texts.set(inode, text);
    return await text;
  }

  #look(inode: number): Promise<Inspected> {
    const known = this.#looks.get(inode);
    if (known !== undefined) return known;
    const name = Buffer.from(this.#tree.nameAt(this.#tree.nameEntry[inode] ?? 0)).toString();
    const look = this.#reader.look(inode, (file) => inspect(file, name));
    this.#looks.set(inode, look);
    return look;
  }

  /** Counts a file that is looked into, once. False beyond the limit. */
  #count(inode: number): boolean {
    if (this.#counted.has(inode)) return true;
    if (!this.#allowed(inode, this.#counted.size, this.#leftBytes)) return false;
    this.#counted.add(inode);
    this.#leftBytes -= this.#costBytes(inode);
    return true;
  }

  #allowed(inode: number, count: number, leftBytes: number): boolean {
    return count < START_LIMIT.inspected && this.#costBytes(inode) <= leftBytes;
  }

  #costBytes(inode: number): number {
    return this.#reader.costBytes(inode);
  }
}

async function inspect(file: ReadableFile, name: string): Promise<Inspected> {
  const start = await file.read(0, Math.min(file.sizeBytes, 4));
  if (start === undefined) return OTHER;
  if (start[0] === 0x7f) {
    const elf = await readElf(file);
    return elf === undefined ? OTHER : { kind: 'elf', elf };
  }
  const marked = start[0] === 0x23 && start[1] === 0x21; // #!
  if (!marked && !name.endsWith('.sh')) return OTHER;
  const text = await readText(file);
  return { kind: 'script', shebang: shebangOf(text), text };
}
