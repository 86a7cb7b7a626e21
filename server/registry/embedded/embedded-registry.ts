import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Endpoint, HeaderList, Registry, RegistryAnswer, RegistryRequest } from '../registry.ts';
import { RegistryError } from '../registry-error.ts';
import type { RepositoryName } from '../repository-name.ts';
import { answerBlob } from './answer-blob.ts';
import { answerReferrers, answerTags } from './answer-list.ts';
import { answerManifest } from './answer-manifest.ts';
import { answerUpload, answerUploads } from './answer-upload.ts';
import { Blobs } from './blobs.ts';
import { makeDirectory } from '../../../schemas/disk/make-directory.ts';
import { errorCode } from '../../../schemas/process/system-error.ts';
import { LayoutIndexes } from './layout-index.ts';
import { Manifests } from './manifests.ts';
import { DEFAULT_PUSH_POLICY, type PushPolicy } from './push-policy.ts';
import { RepositoryFiles } from './repository-files.ts';
import { DEFAULT_LIMITS } from '../../limits/config.ts';
import type { UploadLimits } from './upload-ledger.ts';
import { Uploads } from './uploads.ts';

const VERSION: HeaderList = [['Docker-Distribution-Api-Version', 'registry/2.0']];

/** What may be kept in it. */
export interface EmbeddedLimits extends UploadLimits {
  /** Of one manifest. */
  readonly manifestBytes: number;
}

/**
 * A registry in a directory: one OCI image layout per repository (see RepositoryFiles), which any tool that
 * knows layouts can read. Everybody may do everything, but for what `request.caller` says: a guard stands before it
 * (`../../access/`). One process per directory.
 */
export class EmbeddedRegistry implements Registry {
  readonly #root: string;
  readonly blobs: Blobs;
  readonly manifests: Manifests;
  readonly uploads: Uploads;
  readonly manifestBytes: number;
  readonly policy: PushPolicy;

  constructor(
    dir: string,
    now: () => number,
    limits: EmbeddedLimits = DEFAULT_LIMITS,
    policy: PushPolicy = DEFAULT_PUSH_POLICY,
  ) {
    const indexes = new LayoutIndexes();
    this.#root = resolve(dir);
    this.blobs = new Blobs(this.#root, indexes);
    this.manifests = new Manifests(this.blobs, indexes, policy.sparse);
    this.uploads = new Uploads(this.blobs, limits, now);
    this.manifestBytes = limits.manifestBytes;
    this.policy = policy;
  }

  files(name: RepositoryName, owner?: string): RepositoryFiles {
    return new RepositoryFiles(this.#root, name, owner);
  }

  /** @throws {Error} where the directory cannot be made or written to. */
  async ready(): Promise<void> {
    try {
      await makeDirectory(this.#root);
      await access(this.#root, constants.R_OK | constants.W_OK | constants.X_OK);
    } catch (cause) {
      throw new Error(`the registry's directory ${this.#root} cannot be used`, { cause });
    }
  }

  /** Removes uploads that were abandoned, in all repositories. @returns how many there were. */
  async sweepUploads(signal: AbortSignal): Promise<number> {
    let removed = 0;
    for await (const name of this.blobs.repositories()) {
      signal.throwIfAborted();
      removed += await this.uploads.sweep(this.files(name));
    }
    return removed;
  }

  async answer(request: RegistryRequest): Promise<RegistryAnswer> {
    request.signal.throwIfAborted();
    try {
      const answer = await this.#dispatch(request);
      return { ...answer, headers: [...VERSION, ...answer.headers] };
    } catch (error) {
      const code = errorCode(error);
      if (code === 'ENOSPC' || code === 'EDQUOT')
        throw new RegistryError({ kind: 'storage-full' }, { cause: error });
      throw error;
    }
  }

  #dispatch(request: RegistryRequest): Promise<RegistryAnswer> {
    const { endpoint } = request;
    switch (endpoint.kind) {
      case 'base':
        return Promise.resolve(base(request));
      case 'blob':
        return answerBlob(this, this.files(endpoint.name), of(request, endpoint));
      case 'manifest':
        return answerManifest(
          { manifests: this.manifests, maxBytes: this.manifestBytes },
          this.files(endpoint.name),
          of(request, endpoint),
        );
      case 'uploads':
        return answerUploads(this, this.files(endpoint.name, request.caller?.owner), of(request, endpoint));
      case 'upload':
        return answerUpload(this, this.files(endpoint.name, request.caller?.owner), of(request, endpoint));
      case 'tags':
        return answerTags(this.manifests, this.files(endpoint.name), of(request, endpoint));
      case 'referrers':
        return answerReferrers(this.manifests, this.files(endpoint.name), of(request, endpoint));
      default:
        return endpoint satisfies never;
    }
  }
}

/** The same request, its endpoint narrowed. */
function of<E extends Endpoint>(request: RegistryRequest, endpoint: E): RegistryRequest<E> {
  return { ...request, endpoint };
}

function base(request: RegistryRequest): RegistryAnswer {
  const body = Buffer.from('{}');
  return {
    status: 200,
    headers: [
      ['Content-Type', 'application/json'],
      ['Content-Length', String(body.byteLength)],
    ],
    ...(request.method === 'HEAD' ? {} : { body }),
  };
}
