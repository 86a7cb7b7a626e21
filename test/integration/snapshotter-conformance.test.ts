import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SnapshotterClient } from '../../conformance/snapshotter/client.ts';
import { snapshotterSuite } from '../../conformance/snapshotter/suite.ts';
import { createSnapshotter } from '../../worker/snapshotter/create-snapshotter.ts';
import { NO_REMOTE_IMAGES } from '../../worker/snapshotter/remote-images.ts';
import { serveSnapshotter } from '../../worker/snapshotter/serve-snapshotter.ts';
import type { Snapshotter } from '../../worker/snapshotter/snapshotter.ts';
import type { ListeningServer } from '../../worker/snapshotter/socket-server.ts';
import { FailingLog } from '../support/failing-log.ts';
import { skip } from '../support/skip.ts';

describe('snapshotter conformance', () => {
  let directory: string | undefined;
  let snapshotter: Snapshotter | undefined;
  let server: ListeningServer | undefined;
  let socketPath: string;
  const log = new FailingLog();

  before(async function () {
    if (process.getuid?.() !== 0) skip(this, 'needs root to mount');
    directory = await mkdtemp(join(tmpdir(), 'sl-snap-'));
    socketPath = join(directory, 's.sock');
    snapshotter = await createSnapshotter({
      root: join(directory, 'r'),
      remoteImages: NO_REMOTE_IMAGES,
      log,
    });
    server = await serveSnapshotter({ socketPath, snapshotter, log });
  });

  after(async () => {
    await server?.close();
    await snapshotter?.drained();
    await snapshotter?.close();
    if (directory !== undefined) await rm(directory, { recursive: true });
    log.assertQuiet();
  });

  snapshotterSuite(
    'starlight',
    async () => new SnapshotterClient({ socketPath, snapshotter: 'starlight', namespace: 'suite' }),
    { renamesLowerDirectories: false },
  );
});
