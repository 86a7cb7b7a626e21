/** What is wrong with a table of contents. */
export type TocFault =
  /** The bytes end before the table does, or go on after it. */
  | 'truncated'
  /** A field holds what it must not. */
  | 'malformed'
  /** A count or a length is above its named limit. */
  | 'limit'
  /** A layer that no file system can take: a hard link to nothing, a path through a file, a symlink loop. */
  | 'inapplicable'
  /** Another format, or a version that this program does not read. */
  | 'version';

/** The one error of building and reading tables of contents. */
export class TocError extends Error {
  readonly kind: TocFault;

  constructor(kind: TocFault, message: string) {
    super(message);
    this.name = 'TocError';
    this.kind = kind;
  }
}
