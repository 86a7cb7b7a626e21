import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { BUNDLE_LIMIT } from '../../schemas/bundle/limits.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import { parsePlatform } from '../../schemas/oci/platform.ts';
import { InvalidReferenceError, parseReference } from '../../schemas/oci/reference.ts';
import type { Platform } from '../../schemas/oci/types.ts';
import { StarlightError } from './starlight-error.ts';

/** An image that is wanted: `reference` is a tag or a digest. */
export interface WantedImage {
  readonly name: string;
  readonly reference: string;
}

/** An image that the worker says it has. */
export interface HeldImage {
  readonly name: string;
  readonly digest: Digest;
}

export interface DeltaQuestion {
  readonly namespace: string | undefined;
  readonly platform: Platform;
  readonly to: readonly WantedImage[];
  readonly from: readonly HeldImage[];
}

/** Images wanted at once. */
export const MAX_TO = 64;
/** Images that a worker may say it has. */
export const MAX_FROM = BUNDLE_LIMIT.images;
const DEFAULT_PLATFORM = 'linux/amd64';

const Text = Type.String({ minLength: 1, maxLength: 512 });
const DeltaBodySchema = Type.Object({
  to: Type.Array(Text, { minItems: 1, maxItems: MAX_TO }),
  from: Type.Optional(Type.Array(Text, { maxItems: MAX_FROM })),
  platform: Type.Optional(Text),
  ns: Type.Optional(Text),
});
export type DeltaBody = Static<typeof DeltaBodySchema>;

/** A validator of JSON bodies. @throws {StarlightError} `invalid-request` */
export function bodyParser<S extends TSchema>(schema: S): (value: unknown) => Static<S> {
  const check = TypeCompiler.Compile(schema);
  return (value) => {
    if (check.Check(value)) return value;
    const first = check.Errors(value).First();
    throw invalid(`${first?.path || '/'}: ${first?.message ?? 'of another shape'}`);
  };
}

const parseDeltaBody = bodyParser(DeltaBodySchema);

/** The question in a POST's JSON. @throws {StarlightError} `invalid-request` */
export function questionFromBody(value: unknown): DeltaQuestion {
  const body = parseDeltaBody(value);
  return {
    namespace: body.ns,
    platform: platformOf(body.platform ?? DEFAULT_PLATFORM),
    to: distinct(body.to).map(wantedImage),
    from: distinct(body.from ?? []).map(heldImage),
  };
}

/** The question in a GET's query; `to` and `from` may stand several times and hold lists set off by commas. */
export function questionFromQuery(query: URLSearchParams): DeltaQuestion {
  const list = (key: string) => query.getAll(key).flatMap((text) => text.split(',').filter(Boolean));
  const one = (key: string) => {
    const value = query.get(key);
    return value === null || value === '' ? {} : { [key]: value };
  };
  return questionFromBody({ to: list('to'), from: list('from'), ...one('platform'), ...one('ns') });
}

/** `name:tag` or `name@digest`; `latest` where neither is named. @throws {StarlightError} `invalid-request` */
export function wantedImage(text: string): WantedImage {
  const { name, tag, digest } = parse(text);
  return { name, reference: digest ?? tag ?? 'latest' };
}

function heldImage(text: string): HeldImage {
  const { name, digest } = parse(text);
  if (digest === undefined) throw invalid(`from: ${text} has no digest (expected name@sha256:…)`);
  return { name, digest };
}

function parse(text: string) {
  try {
    const reference = parseReference(text);
    if (reference.host === '') return reference;
  } catch (error) {
    if (error instanceof InvalidReferenceError) throw invalid(error.message, error);
    throw error;
  }
  throw invalid(`${text}: the registry's host belongs into ns, not into the name`);
}

function platformOf(text: string): Platform {
  try {
    return parsePlatform(text);
  } catch (error) {
    if (error instanceof RangeError) throw invalid(error.message, error);
    throw error;
  }
}

function distinct(texts: readonly string[]): string[] {
  return [...new Set(texts)];
}

function invalid(reason: string, cause?: unknown): StarlightError {
  return new StarlightError({ kind: 'invalid-request', reason }, { cause });
}
