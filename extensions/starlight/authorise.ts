import { type Digest, isDigest } from '../../schemas/oci/digest.ts';
import { formatPlatform, parsePlatform, platformMatches } from '../../schemas/oci/platform.ts';
import { convertedTwin } from './converted-twin.ts';
import type { Directory, RawDocument } from './directory.ts';
import type { DeltaQuestion, HeldImage, WantedImage } from './question.ts';
import { type CallerAuthorization, RegistryReadError } from './registry-reader.ts';
import { type FrontedRepository, notFronted } from './repository-choice.ts';
import { type CallerRepository, entryFor, manifestOf, referenceText, resolveRoot } from './resolve.ts';
import { Semaphore } from '../../schemas/concurrency/semaphore.ts';
import { StarlightError } from './starlight-error.ts';

/** Questions to the registry at once, for one caller. */
const AT_ONCE = 8;

/** An image that the caller wants and may pull, as the registry has it now. */
export interface AuthorisedImage {
  /** As asked for. */
  readonly reference: string;
  readonly name: string;
  /** Where that name leads. */
  readonly repository: FrontedRepository;
  readonly index: RawDocument | undefined;
  readonly manifest: RawDocument;
}

/** Whoever asks, and what the names that are asked for mean. */
export interface Caller {
  /** undefined where the name leads to no registry that is fronted. */
  readonly repositoryOf: (name: string) => FrontedRepository | undefined;
  readonly auth: CallerAuthorization;
}

export interface Authorised {
  readonly to: readonly AuthorisedImage[];
  /** Images that the directory knows and that the caller may pull. */
  readonly from: readonly HeldImage[];
  /** All others that the caller named, as `name@digest`. */
  readonly unknownFrom: readonly string[];
}

/**
 * Asks the registry, with the caller's own credentials, for every image of the question. One that is wanted
 * and may not be pulled ends it with the registry's own answer; one that the caller says to have and may not
 * pull counts as unknown, no less than one that does not exist: nothing tells the two apart.
 * @throws {StarlightError} {RegistryReadError}
 */
export async function authorise(
  question: DeltaQuestion,
  { repositoryOf, auth }: Caller,
  directory: Directory,
  signal: AbortSignal,
): Promise<Authorised> {
  const slots = new Semaphore(AT_ONCE);
  const to = await Promise.all(
    question.to.map((wanted) => {
      const repository = repositoryOf(wanted.name);
      if (repository === undefined) throw notFronted(question.namespace, wanted.name);
      return slots.run(() => authoriseWanted(repository, auth, wanted, question, signal), signal);
    }),
  );
  const held = await Promise.all(
    question.from.map((image) =>
      slots.run(async () => {
        const repository = repositoryOf(image.name);
        if (repository === undefined) return false;
        const known = await directory.holds(repository, image.digest, signal);
        return known && (await mayPull({ ...repository, auth }, image.digest, signal));
      }, signal),
    ),
  );
  return {
    to,
    from: question.from.filter((_, row) => held[row] === true),
    unknownFrom: question.from.flatMap(({ name, digest }, row) =>
      held[row] === true ? [] : [`${name}@${digest}`],
    ),
  };
}

async function authoriseWanted(
  fronted: FrontedRepository,
  auth: CallerAuthorization,
  wanted: WantedImage,
  { platform }: DeltaQuestion,
  signal: AbortSignal,
): Promise<AuthorisedImage> {
  const repository = { ...fronted, auth };
  const reference = referenceText(wanted.name, wanted.reference);
  const found = { reference, name: wanted.name, repository: fronted };
  const root = await resolveRoot(repository, wanted.reference, signal);
  const index = root.kind === 'manifest' ? undefined : root.document;
  const manifest =
    root.kind === 'manifest'
      ? root.manifest
      : await manifestOf(repository, entryFor(root.index, platform, reference).digest, signal);
  // A digest means those very bytes; a tag may be met by what they were converted to.
  const twin = isDigest(wanted.reference)
    ? undefined
    : await convertedTwin(repository, index ?? manifest, manifest, platform, signal);
  return { ...found, ...(twin ?? { index, manifest }) };
}

async function mayPull(repository: CallerRepository, digest: Digest, signal: AbortSignal): Promise<boolean> {
  try {
    return (await repository.reader.manifest(repository.name, digest, repository.auth, signal)) !== undefined;
  } catch (error) {
    if (!(error instanceof RegistryReadError)) throw error;
    if (error.fault.kind === 'unauthorized' || error.fault.kind === 'denied') return false;
    throw error;
  }
}

/**
 * That a manifest which no index names a platform for is of the platform that is wanted.
 * @throws {StarlightError} `platform-unknown`.
 */
export function checkPlatform({ platform }: DeltaQuestion, offered: string, reference: string): void {
  let matches: boolean;
  try {
    matches = platformMatches(platform, parsePlatform(offered));
  } catch {
    matches = formatPlatform(platform) === offered; // a config may name what is no platform
  }
  if (!matches) throw new StarlightError({ kind: 'platform-unknown', reference, offered: [offered] });
}
