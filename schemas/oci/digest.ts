import { createHash, type Hash, hash } from 'node:crypto';

/** A content digest, `<algorithm>:<lower-case hex>` (OCI image-spec, descriptor.md#digests). */
export type Digest = string & { readonly __brand: 'Digest' };

/** The algorithms whose digests are accepted, with the length of their hex part. */
export const DIGEST_HEX_LENGTH = { sha256: 64, sha512: 128 } as const;
export type DigestAlgorithm = keyof typeof DIGEST_HEX_LENGTH;

/** A text that ought to be a digest and is not. */
export class DigestError extends Error {
  constructor(text: string) {
    super(
      `not a digest: ${JSON.stringify(text.slice(0, 160))} (expected sha256:<64 hex> or sha512:<128 hex>)`,
    );
    this.name = 'DigestError';
  }
}

/** True when `text` is a well-formed digest of a known algorithm. */
export function isDigest(text: unknown): text is Digest {
  if (typeof text !== 'string') return false;
  const match = /^(sha256|sha512):([0-9a-f]+)$/.exec(text);
  return match !== null && match[2]?.length === DIGEST_HEX_LENGTH[match[1] as DigestAlgorithm];
}

/** @throws {DigestError} when `text` is not a well-formed digest of a known algorithm. */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) throw new DigestError(text);
  return text;
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.slice(0, 6) as DigestAlgorithm; // both names are six letters long
}

/** The hex part; as a path segment it is safe, being checked when the digest was parsed. */
export function digestHex(digest: Digest): string {
  return digest.slice(7);
}

/** The digest of bytes at hand. */
export function digestOf(bytes: Uint8Array | string, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return `${algorithm}:${hash(algorithm, bytes)}` as Digest;
}

/** A running digest: `update` it with the bytes in order, then ask once. */
export class Digester {
  readonly #hash: Hash;
  readonly algorithm: DigestAlgorithm;
  #sizeBytes = 0;

  constructor(algorithm: DigestAlgorithm = 'sha256') {
    this.algorithm = algorithm;
    this.#hash = createHash(algorithm);
  }

  update(bytes: Uint8Array): this {
    this.#hash.update(bytes);
    this.#sizeBytes += bytes.byteLength;
    return this;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  digest(): Digest {
    return `${this.algorithm}:${this.#hash.digest('hex')}` as Digest;
  }
}

/** The sha256 digest whose 32 raw bytes stand in `table` at row `row`. */
export function digestAt(table: Uint8Array, row: number): Digest {
  const at = row * 32;
  return `sha256:${Buffer.from(table.buffer, table.byteOffset + at, 32).toString('hex')}` as Digest;
}
