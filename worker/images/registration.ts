import type { Logger } from 'pino';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import type { Reference } from '../../schemas/oci/reference.ts';
import { parseIndex, parseManifest } from '../../schemas/oci/types.ts';
import type { ContainerdClient } from '../containerd/client.ts';
import { type Blob, registerImage } from '../containerd/register-image.ts';
import type { Catalogue } from './catalogue.ts';
import type { DocumentFiles } from './document-files.ts';
import type { Image } from './image.ts';

export type RegistrationDeps = {
  readonly client: ContainerdClient;
  readonly snapshotter: string;
  readonly catalogue: Catalogue;
  readonly documents: DocumentFiles;
  readonly log: Logger;
};

/** Makes images of the catalogue known to containerd; what it has begun is noted until it is done. */
export class Registration {
  readonly #deps: RegistrationDeps;

  constructor(deps: RegistrationDeps) {
    this.#deps = deps;
  }

  /**
   * @param reference the name in containerd; where it ends in the manifest's own digest, the name is of the
   * manifest, else of the index that the image was found in.
   * @throws {ContainerdError}
   */
  async register(image: Image, namespace: string, reference: Reference, text: string, signal: AbortSignal) {
    const { client, snapshotter, catalogue, documents, log } = this.#deps;
    const name = { namespace, reference: text, manifestDigest: image.manifestDigest };
    catalogue.putName({ ...name, registered: false }, image.platform);
    const manifest = await documents.get(image.manifestDigest);
    const parsed = parseManifest(manifest);
    const config: Blob = {
      digest: image.configDigest,
      mediaType: parsed.config.mediaType,
      bytes: await documents.get(image.configDigest),
    };
    const wantsIndex = reference.digest !== image.manifestDigest && image.indexDigest !== undefined;
    const index =
      wantsIndex && image.indexDigest !== undefined ? await this.#index(image.indexDigest) : undefined;
    await registerImage(
      client,
      namespace,
      snapshotter,
      {
        name: text,
        source: { host: image.host, repository: image.repository },
        ...(index === undefined ? {} : { index }),
        manifest: {
          digest: image.manifestDigest,
          mediaType: parsed.mediaType ?? MEDIA_TYPE.ociManifest,
          bytes: manifest,
        },
        config,
      },
      log,
      signal,
    );
    catalogue.putName({ ...name, registered: true }, image.platform);
  }

  async #index(digest: Blob['digest']): Promise<Blob> {
    const bytes = await this.#deps.documents.get(digest);
    return { digest, mediaType: parseIndex(bytes).mediaType ?? MEDIA_TYPE.ociIndex, bytes };
  }
}
