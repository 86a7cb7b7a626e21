import { type Static, Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import type { Digest } from '../oci/digest.ts';
import { BundleError } from './error.ts';
import { BUNDLE_LIMIT } from './limits.ts';

const Sha256 = Type.Unsafe<Digest>(Type.String({ pattern: '^sha256:[0-9a-f]{64}$' }));
const AnyDigest = Type.Unsafe<Digest>(
  Type.String({ pattern: '^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$' }),
);
const Text = Type.String({ maxLength: 4096 });

const ImageSchema = Type.Object({
  /** The repository, without a host. */
  name: Text,
  /** The image as it was asked for: `name:tag` or `name@digest`. */
  reference: Text,
  manifestDigest: AnyDigest,
  /** The index through which the manifest was found, if there is one. */
  indexDigest: Type.Optional(AnyDigest),
  /** `os/architecture[/variant]` */
  platform: Text,
  tocDigest: Sha256,
  /** Whether the manifest itself names `tocDigest`. If not (foreign eStargz), the proxy alone vouches for it. */
  tocBound: Type.Boolean(),
  /** The lowest first, as many as the image's table has. */
  layers: Type.Array(
    Type.Object({
      digest: AnyDigest,
      /** Of the blob, in bytes. */
      size: Type.Integer({ minimum: 0, maximum: BUNDLE_LIMIT.magnitude }),
      diffId: Sha256,
    }),
    { maxItems: 1024 },
  ),
});
/** An image that the bundle brings. */
export type BundleImage = Static<typeof ImageSchema>;

const FromSchema = Type.Object({ name: Text, manifestDigest: AnyDigest, tocDigest: Sha256 });
/** An image that the worker said it has, and that the proxy knows. */
export type BundleFrom = Static<typeof FromSchema>;

const JsonPartSchema = Type.Object({
  images: Type.Array(ImageSchema, { maxItems: BUNDLE_LIMIT.images }),
  from: Type.Array(FromSchema, { maxItems: BUNDLE_LIMIT.images }),
  /** Images that the worker said it has and that the proxy does not know. */
  unknownFrom: Type.Array(Text, { maxItems: BUNDLE_LIMIT.images }),
});
export type BundleJsonPart = Static<typeof JsonPartSchema>;

/** An index, manifest or config, as it is in the registry. */
export interface BundleBlob {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** The table of contents of an image, packed. */
export interface BundleToc {
  /** sha256 of `encodeImageToc` of its layers. */
  readonly tocDigest: Digest;
  /** Length of the table, unpacked. */
  readonly sizeBytes: number;
  /** The ToC digest of the `from` image whose table is the dictionary; undefined where it is packed by itself. */
  readonly dictionary: Digest | undefined;
  /** A zstd frame. */
  readonly bytes: Uint8Array;
}

/** How a payload is encoded. The numbers are those of the format. */
export const PAYLOAD_ENCODING = {
  /** One or several gzip members, verbatim from the layer. */
  gzipMember: 0,
  zstd: 1,
  /** zstd with another content as dictionary: the worker's old version of the file. */
  patch: 2,
} as const;
export type PayloadEncoding = (typeof PAYLOAD_ENCODING)[keyof typeof PAYLOAD_ENCODING];

/** The contents that the bundle brings, in the order of sending. */
export interface BundleFiles {
  /**
   * Its row in the concatenation of the `contents` of all layers of all images, in the order of the header.
   * That gives digest and size.
   */
  readonly content: Uint32Array;
  /** The payload that carries it. */
  readonly payload: Uint32Array;
  /** Where it begins in that payload, decoded. */
  readonly innerOffset: Float64Array;
}

/** The payloads, in the order of sending; each begins where the one before it ends. */
export interface BundlePayloads {
  readonly encoding: Uint8Array;
  /** As sent. */
  readonly length: Float64Array;
  /** sha256 of the dictionary of each `patch`, in their order, 32 raw bytes each. */
  readonly dictionary: Uint8Array;
}

/** Everything but the payloads. */
export interface BundleHeader extends BundleJsonPart {
  readonly blobs: readonly BundleBlob[];
  /** One per image, in the order of the images. */
  readonly tocs: readonly BundleToc[];
  readonly files: BundleFiles;
  readonly payloads: BundlePayloads;
}

const check = TypeCompiler.Compile(JsonPartSchema);

/** @throws {BundleError} when the bytes are not the JSON part of a header */
export function parseJsonPart(bytes: Uint8Array): BundleJsonPart {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new BundleError('malformed', 'the JSON part of the header is not JSON', { cause });
  }
  if (!check.Check(value)) {
    const first = check.Errors(value).First();
    throw new BundleError(
      'malformed',
      `the JSON part of the header: ${first?.path ?? ''}: ${first?.message ?? ''}`,
    );
  }
  return value;
}
