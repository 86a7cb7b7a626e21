import { type Static, Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import type { Digest } from './digest.ts';

/**
 * The JSON documents of the OCI image-spec that the product reads, as JSON Schemas with the types derived
 * from them. Unknown keys are allowed, as the specification has it; raw bytes are kept beside the parsed
 * form wherever a digest covers them.
 */

const DigestSchema = Type.Unsafe<Digest>(
  Type.String({ pattern: '^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$' }),
);
const Annotations = Type.Record(Type.String(), Type.String());
const SizeBytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

export const PlatformSchema = Type.Object({
  architecture: Type.String(),
  os: Type.String(),
  variant: Type.Optional(Type.String()),
  'os.version': Type.Optional(Type.String()),
  'os.features': Type.Optional(Type.Array(Type.String())),
});
export type Platform = Static<typeof PlatformSchema>;

export const DescriptorSchema = Type.Object({
  mediaType: Type.String(),
  digest: DigestSchema,
  size: SizeBytes,
  urls: Type.Optional(Type.Array(Type.String())),
  annotations: Type.Optional(Annotations),
  artifactType: Type.Optional(Type.String()),
  data: Type.Optional(Type.String()),
  platform: Type.Optional(PlatformSchema),
});
export type Descriptor = Static<typeof DescriptorSchema>;

export const ManifestSchema = Type.Object({
  schemaVersion: Type.Literal(2),
  mediaType: Type.Optional(Type.String()),
  artifactType: Type.Optional(Type.String()),
  config: DescriptorSchema,
  layers: Type.Array(DescriptorSchema, { maxItems: 1024 }),
  subject: Type.Optional(DescriptorSchema),
  annotations: Type.Optional(Annotations),
});
export type Manifest = Static<typeof ManifestSchema>;

export const IndexSchema = Type.Object({
  schemaVersion: Type.Literal(2),
  mediaType: Type.Optional(Type.String()),
  artifactType: Type.Optional(Type.String()),
  manifests: Type.Array(DescriptorSchema, { maxItems: 16384 }),
  subject: Type.Optional(DescriptorSchema),
  annotations: Type.Optional(Annotations),
});
export type Index = Static<typeof IndexSchema>;

/** Of an image's config only what the product needs; the bytes are never written anew from this. */
export const ImageConfigSchema = Type.Object({
  architecture: Type.Optional(Type.String()),
  os: Type.Optional(Type.String()),
  variant: Type.Optional(Type.String()),
  rootfs: Type.Object({
    type: Type.Literal('layers'),
    diff_ids: Type.Array(DigestSchema, { maxItems: 1024 }),
  }),
});
export type ImageConfig = Static<typeof ImageConfigSchema>;

/** A document that is not what its place calls for: not JSON, or not of the schema. */
export class DocumentError extends Error {
  constructor(what: string, reason: string, options?: ErrorOptions) {
    super(`not a valid ${what}: ${reason}`, options);
    this.name = 'DocumentError';
  }
}

function parser<T>(
  what: string,
  check: {
    Check(v: unknown): boolean;
    Errors(v: unknown): { First(): { path: string; message: string } | undefined };
  },
) {
  return (bytes: Uint8Array): T => {
    let value: unknown;
    try {
      value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    } catch (cause) {
      throw new DocumentError(what, 'not JSON', { cause });
    }
    if (!check.Check(value)) {
      const first = check.Errors(value).First();
      throw new DocumentError(
        what,
        first === undefined ? 'of another shape' : `${first.path || '/'}: ${first.message}`,
      );
    }
    return value as T; // checked just above
  };
}

/** @throws {DocumentError} */
export const parseManifest = parser<Manifest>('image manifest', TypeCompiler.Compile(ManifestSchema));
/** @throws {DocumentError} */
export const parseIndex = parser<Index>('image index', TypeCompiler.Compile(IndexSchema));
/** @throws {DocumentError} */
export const parseImageConfig = parser<ImageConfig>('image config', TypeCompiler.Compile(ImageConfigSchema));
