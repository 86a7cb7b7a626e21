import type { Server } from '@grpc/grpc-js';
import {
  type CleanupRequest,
  type CommitRequest,
  type CreateRequest,
  type Empty,
  type InfoMessage,
  type InfoResponse,
  type KeyRequest,
  type ListRequest,
  type ListResponse,
  type MountsResponse,
  snapshotsService,
  type UpdateRequest,
  type UsageResponse,
} from '../../schemas/proto/snapshots.ts';
import { streaming, unary } from './handlers.ts';
import { parseKey, parseParent } from './key.ts';
import { checkLabels } from './labels.ts';
import type { Log } from './log.ts';
import type { SnapshotInfo } from './snapshot.ts';
import type { Snapshotter } from './snapshotter.ts';
import { SnapshotterError } from './snapshotter-error.ts';
import { infoMessage, mountMessage, usageMessage } from './wire.ts';

/** Where a message of List ends: so many snapshots, or so many characters. A client takes 4 MiB at least. */
const LIST_CHUNK_INFOS = 100;
const LIST_CHUNK_LENGTH = 512 * 1024;

/**
 * Adds `containerd.services.snapshots.v1.Snapshots` to a gRPC server. The field `snapshotter` of the requests
 * and the namespace of the caller mean nothing here: containerd has put both into the keys.
 */
export function addSnapshotsService(server: Server, snapshotter: Snapshotter, log: Log): void {
  server.addService(snapshotsService, {
    Prepare: unary<CreateRequest, MountsResponse>(log, async (request, signal) => ({
      mounts: (await snapshotter.prepare(creation(request), signal)).map(mountMessage),
    })),
    View: unary<CreateRequest, MountsResponse>(log, async (request, signal) => ({
      mounts: (await snapshotter.view(creation(request), signal)).map(mountMessage),
    })),
    Mounts: unary<KeyRequest, MountsResponse>(log, async (request, signal) => ({
      mounts: (await snapshotter.mounts(parseKey(request.key, 'key'), signal)).map(mountMessage),
    })),
    Commit: unary<CommitRequest, Empty>(log, async (request, signal) => {
      const name = parseKey(request.name, 'name');
      await snapshotter.commit({ ...creation(request), name }, signal);
      return {};
    }),
    Remove: unary<KeyRequest, Empty>(log, async (request) => {
      await snapshotter.remove(parseKey(request.key, 'key'));
      return {};
    }),
    Stat: unary<KeyRequest, InfoResponse>(log, (request) => ({
      info: infoMessage(snapshotter.stat(parseKey(request.key, 'key'))),
    })),
    Update: unary<UpdateRequest, InfoResponse>(log, ({ info, update_mask }) => {
      if (info === null) throw new SnapshotterError('invalid-argument', 'info is missing');
      const key = parseKey(info.name, 'name');
      return { info: infoMessage(snapshotter.update(key, info.labels, update_mask?.paths ?? [])) };
    }),
    List: streaming<ListRequest, ListResponse>(log, (request) => chunks(snapshotter.list(request.filters))),
    Usage: unary<KeyRequest, UsageResponse>(log, async (request, signal) =>
      usageMessage(await snapshotter.usage(parseKey(request.key, 'key'), signal)),
    ),
    Cleanup: unary<CleanupRequest, Empty>(log, async () => {
      await snapshotter.cleanup();
      return {};
    }),
  });
}

function creation({ key, parent, labels }: CreateRequest) {
  return { key: parseKey(key, 'key'), parent: parseParent(parent), labels: checkLabels(labels) };
}

function* chunks(infos: Iterable<SnapshotInfo>): Generator<ListResponse> {
  let chunk: InfoMessage[] = [];
  let chunkLength = 0;
  for (const info of infos) {
    chunk.push(infoMessage(info));
    chunkLength += lengthOf(info);
    if (chunk.length < LIST_CHUNK_INFOS && chunkLength < LIST_CHUNK_LENGTH) continue;
    yield { info: chunk };
    chunk = [];
    chunkLength = 0;
  }
  if (chunk.length > 0) yield { info: chunk };
}

function lengthOf(info: SnapshotInfo): number {
  let length = info.key.length + (info.parent?.length ?? 0);
  for (const [name, value] of Object.entries(info.labels)) length += name.length + value.length;
  return length;
}
