import type { ImageProcess } from '../image-command.ts';
import type { ElfNeeds } from './elf.ts';
import { directoryOf, type Finder, type Found } from './finder.ts';
import type { Inspector } from './inspector.ts';
import { START_LIMIT } from './limits.ts';

/** A program or library as the loader has it in its list. */
interface LoadedObject {
  readonly found: Found;
  readonly elf: ElfNeeds;
  /** What it was loaded for; undefined for the program. */
  readonly parent: LoadedObject | undefined;
}

/** The names by which Debian and its children call their directories of libraries, by e_machine. */
const MULTIARCH: Readonly<Record<number, string>> = {
  3: 'i386-linux-gnu',
  21: 'powerpc64le-linux-gnu',
  22: 's390x-linux-gnu',
  40: 'arm-linux-gnueabihf',
  62: 'x86_64-linux-gnu',
  183: 'aarch64-linux-gnu',
  243: 'riscv64-linux-gnu',
};

const MUSL = /\/ld-musl-([^/]+)\.so\.1$/;

/**
 * Finds the libraries of programs as ld.so(8) of glibc and musl's loader do, in the order in which they open
 * them. The cache of ld.so is not read: what it was made from is searched instead.
 */
export class DynamicLoader {
  readonly #finder: Finder;
  readonly #inspector: Inspector;
  /** LD_LIBRARY_PATH and LD_PRELOAD. */
  readonly #searched: readonly string[];
  readonly #preloaded: readonly string[];
  #configured: Promise<readonly string[]> | undefined;
  /** Configurations that were read: one may include itself. */
  readonly #configurations = new Set<number>();

  constructor(finder: Finder, inspector: Inspector, process: ImageProcess) {
    this.#finder = finder;
    this.#inspector = inspector;
    const variable = (name: string) => process.environment.get(name)?.slice(0, START_LIMIT.textBytes) ?? '';
    this.#searched = variable('LD_LIBRARY_PATH').split(/[:;]/, START_LIMIT.searchDirectories);
    this.#preloaded = variable('LD_PRELOAD').split(/[\s:]+/, START_LIMIT.libraries);
  }

  /**
   * What is opened for a program behind itself: its loader, what that reads first, then libraries breadth
   * first. Libraries of another machine, and those that are nowhere, are passed over.
   * @throws {RegistryReadError}
   */
  async filesOf(program: Found, elf: ElfNeeds): Promise<Found[]> {
    const { interpreter } = elf;
    const loader = interpreter === undefined ? undefined : this.#finder.file(interpreter);
    const musl = MUSL.exec(interpreter ?? '')?.[1];
    const preload = this.#finder.file('/etc/ld.so.preload');
    const own =
      interpreter === undefined
        ? []
        : musl !== undefined
          ? [this.#finder.file(`/etc/ld-musl-${musl}.path`)]
          : [preload, this.#finder.file('/etc/ld.so.cache')];
    const files = [loader, ...own].filter((one) => one !== undefined);
    const preloaded =
      preload === undefined || musl !== undefined ? '' : await this.#inspector.text(preload.inode);
    const first = [...this.#preloaded, ...preloaded.split(/[\s:]+/)];
    const root = { found: program, elf, parent: undefined };
    files.push(...(await this.#libraries(root, first, await this.#systemDirectories(elf, musl))));
    return files;
  }

  async #libraries(
    root: LoadedObject,
    preloaded: readonly string[],
    system: readonly string[],
  ): Promise<Found[]> {
    const files: Found[] = [];
    const names = new Set<string>(['']);
    let level = [root];
    let first = preloaded;
    while (level.length > 0) {
      const wanted: { readonly object: LoadedObject; readonly candidates: readonly Found[] }[] = [];
      for (const object of level) {
        for (const name of [...first, ...object.elf.needed]) {
          if (names.has(name) || names.size > START_LIMIT.libraries) continue;
          names.add(name);
          wanted.push({ object, candidates: this.#candidates(name, object, system) });
        }
        first = [];
      }
      this.#inspector.foresee(wanted.flatMap(({ candidates }) => candidates[0]?.inode ?? []));
      level = [];
      for (const { object, candidates } of wanted) {
        const library = await this.#firstFit(object, candidates);
        if (library === undefined) continue;
        files.push(library.found);
        if (library.elf.soname !== undefined) names.add(library.elf.soname);
        level.push(library);
      }
    }
    return files;
  }

  async #firstFit(parent: LoadedObject, candidates: readonly Found[]): Promise<LoadedObject | undefined> {
    for (const found of candidates) {
      const inspected = await this.#inspector.inspect(found.inode);
      if (inspected.kind === 'elf' && inspected.elf.kind === parent.elf.kind) {
        return { found, elf: inspected.elf, parent };
      }
    }
    return undefined;
  }

  /** ld.so(8): DT_RPATH of the object and what loaded it, LD_LIBRARY_PATH, DT_RUNPATH, the system's. */
  #candidates(name: string, object: LoadedObject, system: readonly string[]): Found[] {
    if (name.includes('/')) {
      return this.#expand([name], object).flatMap((path) => this.#finder.file(path) ?? []);
    }
    if (this.#finder.exhausted) return [];
    const directories: string[] = [];
    if (object.elf.runpath.length === 0) {
      for (let one: LoadedObject | undefined = object; one !== undefined; one = one.parent) {
        if (one.elf.runpath.length === 0) directories.push(...this.#expand(one.elf.rpath, one));
        if (directories.length > START_LIMIT.searchDirectories) break;
      }
    }
    directories.push(...this.#searched, ...this.#expand(object.elf.runpath, object), ...system);
    const paths = new Set(directories.filter((one) => one !== '').map((one) => `${one}/${name}`));
    const found = new Map<number, Found>();
    for (const path of [...paths].slice(0, START_LIMIT.searchDirectories)) {
      const file = this.#finder.file(path);
      if (file !== undefined && !found.has(file.inode)) found.set(file.inode, file);
    }
    return [...found.values()];
  }

  /** With $ORIGIN, $LIB and $PLATFORM written out; an origin reached by a symlink has two. */
  #expand(paths: readonly string[], { found, elf }: LoadedObject): string[] {
    const library = elf.bits === 64 ? 'lib64' : 'lib';
    const triple = MULTIARCH[elf.machine] ?? '';
    return paths.flatMap((path) => {
      if (!path.includes('$')) return [path];
      const origins = new Set([directoryOf(this.#finder.realPath(found)), directoryOf(found.path)]);
      return [...origins].flatMap((origin) =>
        [library, `lib/${triple}`].map((lib) =>
          path
            .replace(/\$(ORIGIN|\{ORIGIN\})/g, () => origin)
            .replace(/\$(LIB|\{LIB\})/g, () => lib)
            .replace(/\$(PLATFORM|\{PLATFORM\})/g, () => triple.split('-')[0] ?? ''),
        ),
      );
    });
  }

  async #systemDirectories({ machine, bits }: ElfNeeds, musl: string | undefined): Promise<string[]> {
    if (musl !== undefined) {
      const file = this.#finder.file(`/etc/ld-musl-${musl}.path`);
      const text = file === undefined ? '' : await this.#inspector.text(file.inode);
      const directories = text.split(/[\n:]/).filter((one) => one.startsWith('/'));
      return directories.length > 0 ? directories : ['/lib', '/usr/local/lib', '/usr/lib'];
    }
    this.#configured ??= this.#readConfiguration('/etc/ld.so.conf', 0);
    const triple = MULTIARCH[machine];
    return [
      ...(await this.#configured),
      ...(triple === undefined ? [] : [`/lib/${triple}`, `/usr/lib/${triple}`]),
      ...(bits === 64 ? ['/lib64', '/usr/lib64'] : []),
      '/lib',
      '/usr/lib',
    ];
  }

  /** ldconfig(8): a directory on each line, and other such files by pattern. */
  async #readConfiguration(path: string, depth: number): Promise<string[]> {
    const directories: string[] = [];
    for (const { inode } of this.#finder.glob(path)) {
      if (this.#configurations.has(inode)) continue;
      this.#configurations.add(inode);
      for (const line of (await this.#inspector.text(inode)).split('\n')) {
        const [words = ''] = line.trim().split('#', 1);
        const include = /^include\s+(\/\S+)/.exec(words)?.[1];
        if (include !== undefined && depth < START_LIMIT.scriptDepth) {
          directories.push(...(await this.#readConfiguration(include, depth + 1)));
        } else if (words.startsWith('/')) directories.push(words.trim());
        if (directories.length >= START_LIMIT.searchDirectories) return directories;
      }
    }
    return directories;
  }
}
