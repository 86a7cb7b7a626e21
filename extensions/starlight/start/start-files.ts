import type { ImageProcess } from '../image-command.ts';
import { DynamicLoader } from './dynamic-loader.ts';
import type { ElfNeeds } from './elf.ts';
import type { FileReader, ReadableImage } from './file-reader.ts';
import { directoryOf, Finder, type Found } from './finder.ts';
import { Inspector } from './inspector.ts';
import { START_LIMIT } from './limits.ts';
import {
  BEFORE_START,
  CONFIGURATION,
  GLIBC_FILES,
  LIBC_FILES,
  LIBRARY_FILES,
  LOCALE_FILES,
  RUNTIMES,
} from './runtimes.ts';
import { scriptWords, type Shebang } from './text.ts';

/**
 * The inodes of the files that the process of an image opens at its start, as far as that can be known without
 * running it, in the order of opening. First what is certain: the command, what runs it, what the dynamic loader loads
 * for it, the files that its arguments name; then what is likely: programs that its scripts mention, configuration
 * that goes by its name. The same image gives the same list.
 *
 * @throws {RegistryReadError}
 */
export async function startFiles(
  { tree }: ReadableImage,
  process: ImageProcess,
  reader: FileReader,
): Promise<readonly number[]> {
  const finder = new Finder(tree, process);
  const search = new StartSearch(finder, new Inspector(tree, reader), process);
  return await search.run();
}

/** A file that may turn out to be run, and through how many scripts. */
interface Likely {
  readonly found: Found;
  readonly depth: number;
}

class StartSearch {
  readonly #finder: Finder;
  readonly #inspector: Inspector;
  readonly #loader: DynamicLoader;
  readonly #process: ImageProcess;
  readonly #files = new Set<number>();
  readonly #visited = new Set<number>();
  /** What is only likely waits until all that is certain has been found. */
  readonly #later: Likely[] = [];
  /** Names of programs that are run, for their configuration. */
  readonly #names = new Set<string>();
  #glibc: { readonly found: Found; readonly elf: ElfNeeds } | undefined;

  constructor(finder: Finder, inspector: Inspector, process: ImageProcess) {
    this.#finder = finder;
    this.#inspector = inspector;
    this.#loader = new DynamicLoader(finder, inspector, process);
    this.#process = process;
  }

  async run(): Promise<readonly number[]> {
    const [program, ...words] = this.#process.command.slice(0, START_LIMIT.commandWords);
    const first = program === undefined ? undefined : this.#finder.program(program);
    if (first === undefined) return [];
    this.#addPaths(BEFORE_START);
    await this.#visit(first, 0);
    for (const word of words) await this.#argument(word);
    this.#addPaths(LIBC_FILES);
    this.#locale();
    await this.#nss();
    // Scripts that are visited here may add to the end.
    for (let next = this.#later.shift(); next !== undefined; next = this.#later.shift()) {
      if (this.#files.size < START_LIMIT.files) await this.#visit(next.found, next.depth);
    }
    this.#configuration();
    return [...this.#files].slice(0, START_LIMIT.files);
  }

  /** A program, a file, an option that ends in one, or the text of `sh -c`. */
  async #argument(word: string): Promise<void> {
    if (word.length > START_LIMIT.textBytes) return;
    if (/\s/.test(word)) return await this.#script(word, 0);
    const value = word.slice(word.indexOf('=') + 1);
    const found = this.#finder.program(word) ?? this.#finder.file(word) ?? this.#finder.file(value);
    if (found !== undefined) await this.#visit(found, 0);
  }

  /** Adds a file and, where it is run or loaded, all that this opens. */
  async #visit(found: Found, depth: number): Promise<void> {
    if (this.#visited.has(found.inode)) return;
    this.#visited.add(found.inode);
    this.#files.add(found.inode);
    const inspected = await this.#inspector.inspect(found.inode);
    if (inspected.kind === 'elf') await this.#elf(found, inspected.elf);
    else if (inspected.kind === 'script') await this.#interpreted(inspected.shebang, inspected.text, depth);
  }

  async #elf(found: Found, elf: ElfNeeds): Promise<void> {
    const files = await this.#loader.filesOf(found, elf);
    if (elf.interpreter !== undefined && !elf.interpreter.includes('ld-musl')) this.#glibc ??= { found, elf };
    for (const { inode } of files) this.#files.add(inode);
    for (const { path } of files) {
      const name = path.slice(path.lastIndexOf('/') + 1);
      for (const [library, paths] of LIBRARY_FILES) if (library.test(name)) this.#addPaths(paths);
    }
    const real = this.#finder.realPath(found);
    const name = real.slice(real.lastIndexOf('/') + 1);
    for (const path of [found.path, real]) {
      const called = path.slice(path.lastIndexOf('/') + 1);
      if (!called.includes('.so')) this.#names.add(called);
    }
    for (const { program, files: paths } of RUNTIMES) {
      const match = program.exec(name);
      if (match !== null) await this.#runtime(paths, directoryOf(real), match[1] ?? '');
    }
  }

  async #runtime(
    files: readonly (string | readonly string[])[],
    directory: string,
    group: string,
  ): Promise<void> {
    const { command } = this.#process;
    const flag = command.indexOf('-m');
    const known: Readonly<Record<string, string | undefined>> = {
      '{directory}': directory,
      '{prefix}': directoryOf(directory),
      '{1}': group,
      '{workdir}': this.#finder.workingDirectory,
      '{module}': flag < 0 ? undefined : command[flag + 1]?.replaceAll('.', '/'),
    };
    for (const patterns of files) {
      for (const pattern of typeof patterns === 'string' ? [patterns] : patterns) {
        const found = this.#match(pattern, known);
        for (const file of found) {
          if (/\.so(?:\.|$)/.test(file.path)) await this.#visit(file, 0);
          else this.#files.add(file.inode);
        }
        if (found.length > 0) break;
      }
    }
  }

  /** The files of a pattern; none where it has a `{…}` of which nothing is known. */
  #match(pattern: string, known: Readonly<Record<string, string | undefined>>): Found[] {
    let path = pattern;
    for (const [name, value] of Object.entries(known)) {
      if (!path.includes(name)) continue;
      if (value === undefined || value.includes('*')) return [];
      path = path.replaceAll(name, () => value);
    }
    return this.#finder.glob(path);
  }

  async #interpreted(shebang: Shebang | undefined, text: string, depth: number): Promise<void> {
    if (depth > START_LIMIT.scriptDepth) return;
    let shell = shebang === undefined;
    if (shebang !== undefined) {
      // What env(1) runs is among the words: `#!/usr/bin/env -S node --flag`.
      for (const word of [shebang.interpreter, ...shebang.words]) {
        const found = this.#finder.program(word);
        if (found === undefined) continue;
        await this.#visit(found, depth + 1);
        shell ||= /^(?:ba|da|a|k|z)?sh$|^busybox$/.test(word.slice(word.lastIndexOf('/') + 1));
      }
    }
    if (shell) await this.#script(text, depth);
  }

  async #script(text: string, depth: number): Promise<void> {
    if (depth >= START_LIMIT.scriptDepth) return;
    const { exec, others } = scriptWords(text);
    for (const word of exec) {
      const found = this.#finder.program(word);
      if (found !== undefined) await this.#visit(found, depth + 1);
    }
    for (const word of others) {
      const found = this.#finder.program(word);
      if (found === undefined || this.#later.length >= START_LIMIT.scriptWords) continue;
      this.#later.push({ found, depth: depth + 1 });
    }
  }

  #addPaths(paths: readonly string[]): void {
    for (const path of paths) {
      const found = this.#finder.file(path);
      if (found !== undefined) this.#files.add(found.inode);
    }
  }

  #locale(): void {
    const { environment } = this.#process;
    const zone = environment.get('TZ');
    if (zone !== undefined) this.#addPaths([`/usr/share/zoneinfo/${zone.replace(/^:/, '')}`]);
    const named = environment.get('LC_ALL') ?? environment.get('LC_CTYPE') ?? environment.get('LANG') ?? '';
    if (!/^[\w.@-]{1,64}$/.test(named) || named === 'C' || named === 'POSIX') return;
    // glibc's _nl_normalize_codeset: letters and digits, lower case.
    const [language = '', codeset] = named.split('.');
    const locale =
      codeset === undefined ? language : `${language}.${codeset.toLowerCase().replace(/[^a-z0-9]/g, '')}`;
    for (const pattern of LOCALE_FILES) {
      for (const { inode } of this.#match(pattern, { '{locale}': locale })) this.#files.add(inode);
    }
  }

  /** Libraries that glibc loads by name, found as the first program of it finds its own. */
  async #nss(): Promise<void> {
    if (this.#glibc === undefined) return;
    const { found, elf } = this.#glibc;
    const files = await this.#loader.filesOf(found, { ...elf, needed: [...elf.needed, ...GLIBC_FILES] });
    for (const { inode } of files) this.#files.add(inode);
  }

  #configuration(): void {
    for (const name of this.#names) {
      for (const pattern of CONFIGURATION) {
        for (const { inode } of this.#match(pattern, { '{name}': name })) {
          const { tree } = this.#finder;
          if ((tree.size[inode] ?? 0) <= START_LIMIT.guessedBytes) this.#files.add(inode);
        }
      }
    }
  }
}
