import { loadService } from './load.ts';
import type { LabelsMessage, TimestampMessage } from './snapshots.ts';

/** The services of containerd that the worker calls, as grpc-js service definitions. */
export const contentService = loadService(
  'services/content/v1/content.proto',
  'containerd.services.content.v1.Content',
);
export const imagesService = loadService(
  'services/images/v1/images.proto',
  'containerd.services.images.v1.Images',
);
export const leasesService = loadService(
  'services/leases/v1/leases.proto',
  'containerd.services.leases.v1.Leases',
);

/** containerd.types.Descriptor; the size is a decimal text (int64). */
export type DescriptorMessage = {
  readonly media_type: string;
  readonly digest: string;
  readonly size: string;
  readonly annotations: LabelsMessage;
};

/** containerd.services.content.v1.Info. */
export type ContentInfoMessage = {
  readonly digest: string;
  readonly size: string;
  readonly labels: LabelsMessage;
};

/** containerd.services.content.v1.WriteContentRequest; one message may carry the bytes and commit them. */
export type WriteContentMessage = {
  readonly action: 'STAT' | 'WRITE' | 'COMMIT';
  readonly ref: string;
  readonly total: string;
  readonly expected: string;
  readonly offset: string;
  readonly data: Uint8Array;
  readonly labels: LabelsMessage;
};

/** containerd.services.images.v1.Image, as far as the worker reads it. */
export type ImageMessage = {
  readonly name: string;
  readonly labels: LabelsMessage;
  readonly target: DescriptorMessage | null;
  readonly created_at?: TimestampMessage | null;
};

/** containerd.services.leases.v1.Resource: type `content`, `ingests` or `snapshots/<snapshotter>`. */
export type LeaseResourceMessage = { readonly id: string; readonly type: string };
