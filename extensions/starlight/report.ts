import { type Static, Type } from '@sinclair/typebox';
import { type Digest, isDigest } from '../../schemas/oci/digest.ts';
import { isRepositoryName } from '../../schemas/oci/reference.ts';
import { TOC_LIMIT } from '../../schemas/toc/limits.ts';
import { NONE, type Tree } from '../../schemas/toc/tree.ts';
import { type Directory, DirectoryError, type RankRow, type RepositoryKey } from './directory.ts';
import type { ImageStore } from './image-store.ts';
import { bodyParser } from './question.ts';
import { StarlightError } from './starlight-error.ts';

/** Traces in one report. */
const MAX_TRACES = 64;
/** Opens of one trace. */
const MAX_OPENS = 131_072;

/** A path, or where it is not UTF-8 its bytes in base64; with or without a leading slash. */
const Path = Type.Union([
  Type.String({ maxLength: TOC_LIMIT.pathBytes + 1 }),
  Type.Object({
    b64: Type.String({
      maxLength: Math.ceil(TOC_LIMIT.pathBytes / 3) * 4 + 4,
      pattern: '^[A-Za-z0-9+/]*={0,2}$',
    }),
  }),
]);
const ReportSchema = Type.Object({
  image: Type.String({ maxLength: 200 }),
  name: Type.String({ maxLength: 255 }),
  ns: Type.Optional(Type.String({ minLength: 1, maxLength: 512 })),
  traces: Type.Array(Type.Object({ opens: Type.Array(Path, { maxItems: MAX_OPENS }) }), {
    maxItems: MAX_TRACES,
  }),
});
type OpenedPath = Static<typeof Path>;

/** What was opened in containers of one image, each trace in the order of first opens. */
export interface Report {
  readonly image: Digest;
  readonly name: string;
  readonly namespace: string | undefined;
  readonly traces: readonly { readonly opens: readonly OpenedPath[] }[];
}

const parseBody = bodyParser(ReportSchema);

/** @throws {StarlightError} `invalid-request` */
export function reportFromBody(value: unknown): Report {
  const { image, name, ns, traces } = parseBody(value);
  if (!isDigest(image)) throw invalid('/image: not a digest');
  if (!isRepositoryName(name)) throw invalid('/name: not the name of a repository');
  return { image, name, namespace: ns, traces };
}

/** Enters the traces of containers into the ranks of their image. */
export class Reporter {
  readonly #directory: Directory;
  readonly #images: ImageStore;

  constructor(directory: Directory, images: ImageStore) {
    this.#directory = directory;
    this.#images = images;
  }

  /**
   * Paths that are no file with content in that image are passed over.
   * @returns how many opens were taken.
   * @throws {StarlightError} `image-unknown`.
   */
  async report(repository: RepositoryKey, report: Report, signal: AbortSignal): Promise<number> {
    const unknown = () => new StarlightError({ kind: 'image-unknown', manifest: report.image });
    if (!(await this.#directory.holds(repository, report.image, signal))) throw unknown();
    const image = await this.#images.image(report.image, signal);
    if (image === undefined) throw unknown();
    const { rows, accepted } = ranksOf(report, image.tree);
    if (accepted === 0) return 0;
    try {
      const version = await this.#directory.addRanks(repository, report.image, rows, signal);
      if (version === undefined) throw unknown();
    } catch (error) {
      if (!(error instanceof DirectoryError && error.fault.kind === 'too-many-ranks')) throw error;
      throw invalid(error.message, error);
    }
    return accepted;
  }
}

/** One row per file, named by its first path: whichever of its hard links was opened. */
export function ranksOf(report: Report, tree: Tree): { rows: RankRow[]; accepted: number } {
  const sums = new Map<number, { rankSum: number; hits: number }>();
  let accepted = 0;
  for (const { opens } of report.traces) {
    const seen = new Set<number>();
    for (const open of opens) {
      const inode = tree.resolve(typeof open === 'string' ? open : Buffer.from(open.b64, 'base64'));
      if (inode < 0 || tree.content[inode] === NONE || seen.has(inode)) continue;
      const sum = sums.get(inode) ?? { rankSum: 0, hits: 0 };
      // The place among the files that count, so that a trace full of others does not push its files back.
      sums.set(inode, { rankSum: sum.rankSum + seen.size, hits: sum.hits + 1 });
      seen.add(inode);
      accepted++;
    }
  }
  const rows = [...sums].map(([inode, sum]) => ({
    path: tree.firstPath(inode),
    content: tree.content[inode] ?? NONE,
    ...sum,
  }));
  return { rows, accepted };
}

function invalid(reason: string, cause?: unknown): StarlightError {
  return new StarlightError({ kind: 'invalid-request', reason }, { cause });
}
