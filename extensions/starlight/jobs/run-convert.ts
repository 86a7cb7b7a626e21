import { type Conversion, convert } from '../../../schemas/image/convert.ts';
import type { ConvertListener } from '../../../schemas/image/convert-listener.ts';
import type { ImageSource, ManifestDocument } from '../../../schemas/image/image-endpoint.ts';
import { ImageError } from '../../../schemas/image/image-error.ts';
import { IMAGE_LIMIT } from '../../../schemas/image/limits.ts';
import { readAll } from '../../../schemas/image/verify-stream.ts';
import { ANNOTATION } from '../../../schemas/oci/annotations.ts';
import type { Digest } from '../../../schemas/oci/digest.ts';
import { isIndexType, MEDIA_TYPE } from '../../../schemas/oci/media-types.ts';
import { isTag } from '../../../schemas/oci/reference.ts';
import { parseImageConfig, parseManifest } from '../../../schemas/oci/types.ts';
import { convertedReferrer } from './converted-referrer.ts';
import type { ConvertRules } from './convert-rules.ts';
import { HeldSink } from './held-sink.ts';
import type { Job } from './job.ts';
import type { JobQueue } from './job-queue.ts';
import type { JobRegistries, JobRegistry } from './job-registry.ts';
import type { JobHandler } from './job-runner.ts';
import { manifestsUnder } from './manifests-under.ts';
import { registryOf } from './run-ingest.ts';

export interface ConvertJobOptions {
  readonly registries: JobRegistries;
  readonly rules: ConvertRules;
  readonly queue: JobQueue;
  /** Told when there is something new in the queue. */
  readonly wake: () => void;
  readonly atOnce: number;
}

const MB = 1_000_000;

/** Converts images within their repositories, and has what came of it ingested. */
export function convertJobs(options: ConvertJobOptions): JobHandler {
  return { atOnce: options.atOnce, run: (job, progress, signal) => run(options, job, progress, signal) };
}

async function run(
  options: ConvertJobOptions,
  job: Job,
  progress: (text: string) => void,
  signal: AbortSignal,
): Promise<string> {
  const { name, reference } = job;
  const rule = options.rules.ruleFor(name, reference);
  if (rule === undefined) return 'no rule asks for this';
  const registry = registryOf(options.registries, job);
  // From here on by digest: the tag may move while this goes on.
  const original = await registry.source(name, reference).manifest(signal);
  const source = registry.source(name, original.digest);
  const target = 'tagSuffix' in rule ? tagOf(reference, rule.tagSuffix) : undefined;
  if (target !== undefined && (await isDone(registry, name, original, target, signal))) {
    return `${target} is its conversion already`;
  }
  if (target === undefined && (await hasReferrer(registry, name, original.digest, signal))) {
    return 'a referrer of it is its conversion already';
  }
  const sink = registry.sink(name, target ?? reference);
  const listener = progressListener(progress);
  const conversion = await convert(source, new HeldSink(sink), { listener }, signal);
  if (conversion.images.length === 0) {
    return `nothing to convert: ${conversion.copied.map(({ reason }) => reason).join('; ') || 'no image'}`;
  }
  if (target !== undefined) {
    await sink.publish(conversion.root, signal);
    await askToIngest(options, job, target, conversion.root.digest, signal);
    return `converted to ${target}, ${conversion.root.digest}`;
  }
  const referrer = convertedReferrer(original, conversion.root, await configOf(source, conversion, signal));
  await sink.putReferrer(referrer, original.digest, MEDIA_TYPE.starlightImage, signal);
  await askToIngest(options, job, referrer.digest, referrer.digest, signal);
  return `converted to ${referrer.digest}, a referrer of ${original.digest}`;
}

function tagOf(tag: string, suffix: string): string {
  const target = `${tag}${suffix}`;
  if (isTag(target)) return target;
  throw new ImageError({ kind: 'invalid-name', name: target }, `${target} is no tag: it is too long`);
}

/**
 * True when `target` is what the image converts to.
 * @throws {ImageError} where something else has that tag, which is not overwritten.
 */
async function isDone(
  registry: JobRegistry,
  name: string,
  original: ManifestDocument,
  target: string,
  signal: AbortSignal,
): Promise<boolean> {
  const there = await registry.reader.manifest(name, target, undefined, signal);
  if (there === undefined) return false;
  const results = await manifestsUnder(registry.reader, name, there, signal);
  const from = new Set(results.map(({ manifest }) => manifest.annotations?.[ANNOTATION.convertedFrom]));
  if (!results.some(({ manifest }) => manifest.annotations?.[ANNOTATION.convertedFrom] !== undefined)) {
    const message = `${name}:${target} is there and is no conversion of ours: it is not overwritten`;
    throw new ImageError({ kind: 'unsupported', what: target }, message);
  }
  // What needed no conversion stands in the result as it was.
  const same = new Set(results.map(({ digest }) => digest));
  const originals = await manifestsUnder(registry.reader, name, original, signal);
  return originals.every(({ digest }) => from.has(digest) || same.has(digest));
}

async function hasReferrer(
  registry: JobRegistry,
  name: string,
  subject: Digest,
  signal: AbortSignal,
): Promise<boolean> {
  const found = await registry.reader.referrers(name, subject, MEDIA_TYPE.starlightImage, undefined, signal);
  for (const { digest } of found) {
    if ((await registry.reader.manifest(name, digest, undefined, signal)) !== undefined) return true;
  }
  return false;
}

/** Of a single image; the images of an index stand there with their platforms. */
async function configOf(source: ImageSource, { root }: Conversion, signal: AbortSignal) {
  if (isIndexType(root.mediaType)) return undefined;
  const blob = await source.blob(parseManifest(root.bytes).config, signal);
  return parseImageConfig(await readAll(blob, IMAGE_LIMIT.configBytes, 'an image config'));
}

async function askToIngest(
  { queue, wake }: ConvertJobOptions,
  { registry, name }: Job,
  reference: string,
  digest: Digest,
  signal: AbortSignal,
): Promise<void> {
  await queue.enqueue([{ kind: 'ingest', registry, name, reference, digest, origin: 'conversion' }], signal);
  wake();
}

function progressListener(progress: (text: string) => void): ConvertListener {
  const read = new Map<string, number>();
  let done = 0;
  const tell = () => {
    const bytes = [...read.values()].reduce((sum, one) => sum + one, 0);
    progress(`${done} of ${read.size} layers begun are converted, ${(bytes / MB).toFixed(1)} MB read`);
  };
  return {
    layerStarted: ({ digest }) => {
      read.set(digest, 0);
      tell();
    },
    layerProgress: ({ digest }, readBytes) => {
      read.set(digest, readBytes);
      tell();
    },
    layerDone: () => {
      done += 1;
      tell();
    },
  };
}
