/**
 * A process that serves one sample tree until it is killed: what a test kills and starts again. Arguments:
 * directory (holds `mount`, `contents` and `descriptors`) and driver. Prints `resumed` or `mounted` when it
 * answers, and `want <digest>` for each content wanted. SIGTERM leaves the mount, SIGINT takes it away, SIGHUP exits at
 * once.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Digest, digestHex } from '../../schemas/oci/digest.ts';
import { chooseDriver } from '../../worker/filesystem/choose-driver.ts';
import { RecordedLog } from './fixture.ts';
import { survivalTree } from './survival-tree.ts';

const POLL_INTERVAL_MS = 10;
const [, , directory = '', name = ''] = process.argv;
if (name !== 'kernel' && name !== 'fuse-native') throw new Error(`no driver ${name}`);
const store = join(directory, 'contents');
const mountpoint = join(directory, 'mount');

/** Contents are put into the directory by the test: looked for until they are there. */
function want(digest: Digest, signal: AbortSignal): Promise<string> {
  process.stdout.write(`want ${digest}\n`);
  const path = join(store, digestHex(digest).slice(0, 2), digestHex(digest).slice(2));
  return new Promise((resolve, reject) => {
    const look = () => {
      if (signal.aborted) reject(signal.reason);
      else if (existsSync(path)) resolve(path);
      else setTimeout(look, POLL_INTERVAL_MS);
    };
    look();
  });
}

const log = new RecordedLog();
const driver = await chooseDriver(name, log, { descriptorDirectory: join(directory, 'descriptors') });
const tree = survivalTree();
const contents = { directory: store, want };
const signal = AbortSignal.timeout(10_000);
const resumed = await driver.resume(tree, mountpoint, contents, { waitLimitMs: 0, log }, signal);
const mounted = resumed ?? (await driver.mount(tree, mountpoint, contents, { waitLimitMs: 0, log }, signal));
const alive = setInterval(() => {}, 60_000);
process.on('SIGTERM', () => void driver.close({ leaveMounted: true }).then(() => clearInterval(alive)));
process.on(
  'SIGINT',
  () =>
    void mounted
      .unmount()
      .then(() => driver.close())
      .then(() => clearInterval(alive)),
);
process.on('SIGHUP', () => process.exit(3));
// Last: who reads this may send a signal at once.
process.stdout.write(resumed === undefined ? 'mounted\n' : 'resumed\n');
