import { loadService } from './load.ts';

/** `containerd.services.snapshots.v1.Snapshots` as a grpc-js service definition. */
export const snapshotsService = loadService(
  'services/snapshots/v1/snapshots.proto',
  'containerd.services.snapshots.v1.Snapshots',
);

/** google.protobuf.Timestamp: seconds since 1970 as a decimal text, and nanoseconds from 0 to 999999999. */
export type TimestampMessage = { readonly seconds: string; readonly nanos: number };

export type LabelsMessage = Readonly<Record<string, string>>;

/** containerd.types.Mount: the arguments of mount(2), options in the style of fstab. */
export type MountMessage = {
  readonly type: string;
  readonly source: string;
  readonly target: string;
  readonly options: readonly string[];
};

export type KindMessage = 'UNKNOWN' | 'VIEW' | 'ACTIVE' | 'COMMITTED';

export type InfoMessage = {
  readonly name: string;
  readonly parent: string;
  readonly kind: KindMessage;
  readonly created_at: TimestampMessage | null;
  readonly updated_at: TimestampMessage | null;
  readonly labels: LabelsMessage;
};

export type KeyRequest = { readonly snapshotter: string; readonly key: string };
/** PrepareSnapshotRequest and ViewSnapshotRequest. */
export type CreateRequest = KeyRequest & { readonly parent: string; readonly labels: LabelsMessage };
export type CommitRequest = CreateRequest & { readonly name: string };
export type UpdateRequest = {
  readonly snapshotter: string;
  readonly info: InfoMessage | null;
  readonly update_mask: { readonly paths: readonly string[] } | null;
};
export type ListRequest = { readonly snapshotter: string; readonly filters: readonly string[] };
export type CleanupRequest = { readonly snapshotter: string };

export type MountsResponse = { readonly mounts: readonly MountMessage[] };
export type InfoResponse = { readonly info: InfoMessage | null };
export type ListResponse = { readonly info: readonly InfoMessage[] };
/** Bytes and inodes as decimal texts (int64). */
export type UsageResponse = { readonly size: string; readonly inodes: string };
export type Empty = Readonly<Record<never, never>>;
