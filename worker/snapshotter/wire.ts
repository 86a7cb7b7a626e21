import type {
  InfoMessage,
  KindMessage,
  MountMessage,
  TimestampMessage,
  UsageResponse,
} from '../../schemas/proto/snapshots.ts';
import type { EpochNs, Mount, SnapshotInfo, SnapshotKind, Usage } from './snapshot.ts';

const NS_PER_SECOND = 1_000_000_000n;

const KIND: Readonly<Record<SnapshotKind, KindMessage>> = {
  view: 'VIEW',
  active: 'ACTIVE',
  committed: 'COMMITTED',
};

export function infoMessage(info: SnapshotInfo): InfoMessage {
  return {
    name: info.key,
    parent: info.parent ?? '',
    kind: KIND[info.kind],
    created_at: timestampMessage(info.createdNs),
    updated_at: timestampMessage(info.updatedNs),
    labels: info.labels,
  };
}

export function mountMessage(mount: Mount): MountMessage {
  return { type: mount.type, source: mount.source, target: '', options: mount.options };
}

export function usageMessage(usage: Usage): UsageResponse {
  return { size: String(usage.sizeBytes), inodes: String(usage.inodes) };
}

/** Times are not before 1970, so that both parts are positive. */
function timestampMessage(time: EpochNs): TimestampMessage {
  return { seconds: String(time / NS_PER_SECOND), nanos: Number(time % NS_PER_SECOND) };
}
