import { NONE, type Tree } from '../../../schemas/toc/tree.ts';
import type { ImageProcess } from '../image-command.ts';
import { DEFAULT_PATH } from '../optimizer/find-command.ts';
import { walk } from '../optimizer/walk.ts';
import { START_LIMIT } from './limits.ts';

/** A file with content. */
export interface Found {
  readonly inode: number;
  /** As it was asked for, absolute; symlinks in it have not been followed. */
  readonly path: string;
}

const EXECUTABLE = 0o111;

/** Finds files of an image as its process would. All that one finder looks up is bounded together. */
export class Finder {
  readonly tree: Tree;
  readonly workingDirectory: string;
  readonly #path: readonly string[];
  readonly #budget: { names: number } = { names: START_LIMIT.names };

  constructor(tree: Tree, { environment, workingDirectory }: ImageProcess) {
    this.tree = tree;
    const directory = workingDirectory.length > START_LIMIT.pathBytes ? '/' : workingDirectory;
    this.workingDirectory = directory.startsWith('/') ? directory : `/${directory}`;
    this.#path = environment.get('PATH')?.split(':', START_LIMIT.searchDirectories) ?? DEFAULT_PATH;
  }

  /** Nothing is found any more: there was too much to be looked for. */
  get exhausted(): boolean {
    return this.#budget.names <= 0;
  }

  /** A file by its path, which may be relative to the working directory. */
  file(path: string): Found | undefined {
    if (path === '' || path.length > START_LIMIT.pathBytes || this.exhausted) return undefined;
    const absolute = path.startsWith('/') ? path : `${this.workingDirectory}/${path}`;
    const inode = walk(this.tree, absolute, 0, this.#budget);
    if (inode < 0 || this.tree.content[inode] === NONE) return undefined;
    return { inode, path: absolute };
  }

  /** What would be run by that name: from the search path, unless it has a slash. */
  program(name: string): Found | undefined {
    if (name.includes('/')) return this.file(name);
    for (const directory of this.#path) {
      const found = this.file(`${directory}/${name}`);
      if (found !== undefined && ((this.tree.mode[found.inode] ?? 0) & EXECUTABLE) !== 0) return found;
    }
    return undefined;
  }

  /**
   * The files that an absolute path names in whose names one `*` each stands for any run of bytes; ascending
   * by name.
   */
  glob(pattern: string): Found[] {
    let found = [''];
    for (const name of pattern.split('/').filter((one) => one !== '')) {
      found = found
        .flatMap((path) => (name.includes('*') ? this.#matching(path, name) : [`${path}/${name}`]))
        .slice(0, START_LIMIT.matches);
    }
    return found.flatMap((path) => this.file(path) ?? []);
  }

  /** The path without symlinks in it, of the first of its names. */
  realPath({ inode }: Found): string {
    return `/${Buffer.from(this.tree.firstPath(inode)).toString()}`;
  }

  #matching(path: string, pattern: string): string[] {
    const { tree } = this;
    const directory = walk(tree, path, 0, this.#budget);
    const [start = '', end = ''] = pattern.split('*');
    const matches: string[] = [];
    const first = tree.firstEntry[directory] ?? 0;
    const count = directory < 0 ? 0 : (tree.entryCount[directory] ?? 0);
    for (let entry = first; entry < first + count && this.#budget.names > 0; entry += 1) {
      this.#budget.names -= 1;
      const name = Buffer.from(tree.nameAt(entry)).toString();
      if (name.length < start.length + end.length || !name.startsWith(start) || !name.endsWith(end)) continue;
      matches.push(`${path}/${name}`);
      if (matches.length >= START_LIMIT.matches) break;
    }
    return matches;
  }
}

/** The directory of an absolute path. */
export function directoryOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/'))) || '/';
}
