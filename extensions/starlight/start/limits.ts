import { MAX_START } from '../optimizer/start-order.ts';

/** Bounds of what is read and kept to find out what a container opens first. Beyond them the rest is left out. */
export const START_LIMIT = {
  /** Files of an image's list. */
  files: MAX_START,
  /** Files that are looked into: programs, libraries, scripts. */
  inspected: 512,
  /** What has to be inflated for them, all together: they and what stands before them in their payloads. */
  inspectedBytes: 1024 * 1024 * 1024,
  /** Of one file so much is held in memory; a larger one is read again where a later part of it is wanted. */
  heldBytes: 8 * 1024 * 1024,
  /** Files held or read at once. */
  atOnce: 4,
  /** How often one large file is read from its start. */
  passes: 4,
  /** Scripts called by scripts, configurations included by configurations. */
  scriptDepth: 4,
  /** Of a script or a configuration, its beginning. */
  textBytes: 64 * 1024,
  /** Different words of a script, and programs that scripts mention and that wait to be looked into. */
  scriptWords: 4096,
  /** Words of an image's command. */
  commandWords: 64,
  /** Names in all paths together that are looked for. */
  names: 500_000,
  /** Linux, PATH_MAX. */
  pathBytes: 4096,
  /** Programs and libraries that one program names, at whatever remove. */
  libraries: 2048,
  /** Directories in which a library is looked for. */
  searchDirectories: 256,
  /** Names that one pattern may stand for. */
  matches: 256,
  /** A file beside those that are known to be opened, by a rule of names. */
  guessedBytes: 64 * 1024,
  /** For one image; a registry that takes longer leaves it without a list. */
  timeMs: 120_000,
} as const;

/** Bounds of one ELF file. */
export const ELF_LIMIT = {
  programHeaders: 256,
  dynamicBytes: 64 * 1024,
  /** DT_NEEDED of one file. */
  needed: 512,
  stringBytes: 4096,
  /** From the first wanted string of the table to the last. */
  stringsBytes: 1024 * 1024,
} as const;
