import { Server } from '@grpc/grpc-js';
import type { Log } from './log.ts';
import { addSnapshotsService } from './service.ts';
import type { Snapshotter } from './snapshotter.ts';
import { type ListeningServer, listenOnSocket } from './socket-server.ts';

/** Calls that one connection may have under way; containerd opens one connection. */
const CALLS_PER_CONNECTION_MAX = 1000;

export type ServeOptions = {
  readonly socketPath: string;
  readonly snapshotter: Snapshotter;
  readonly log: Log;
  /** How long `close` lets calls go on; CLOSE_GRACE_MS by default. */
  readonly closeGraceMs?: number;
};

/**
 * Serves `snapshotter` to containerd on a Unix socket. `close` ends the calls and removes the socket; it leaves
 * the snapshotter open.
 *
 * @throws {Error} when the socket cannot be made (socket-server.ts).
 */
export async function serveSnapshotter(options: ServeOptions): Promise<ListeningServer> {
  const server = new Server({ 'grpc.max_concurrent_streams': CALLS_PER_CONNECTION_MAX });
  addSnapshotsService(server, options.snapshotter, options.log);
  return listenOnSocket(server, options.socketPath, options.closeGraceMs);
}
