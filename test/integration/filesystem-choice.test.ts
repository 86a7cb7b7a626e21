import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RecordedLog, run } from '../../conformance/filesystem/fixture.ts';
import { chooseDriver } from '../../worker/filesystem/choose-driver.ts';

const CHOICES = [
  ['auto', 'kernel'],
  ['kernel', 'kernel'],
  ['fuse-native', 'fuse-native'],
] as const;
/** Runs what follows where /dev/fuse is root's alone, as it is not everywhere. */
const CLOSED = [
  ...['--mount', 'sh', '-ec'],
  `mount -t tmpfs -o dev tmpfs "$0"
   mknod -m 600 "$0/fuse" c 10 229
   mount --bind "$0/fuse" /dev/fuse
   exec "$@"`,
];
const MODULE = fileURLToPath(new URL('../../worker/filesystem/choose-driver.ts', import.meta.url));

describe('chooseDriver()', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'starlight-choice-'));
  });
  after(() => rm(directory, { recursive: true }));

  for (const [choice, name] of CHOICES) {
    it(`takes ${name} for ${choice}, as root`, async () => {
      const log = new RecordedLog();
      const driver = await chooseDriver(choice, log);
      try {
        assert.equal(driver.name, name);
        assert.deepEqual(log.lines, []);
      } finally {
        await driver.close();
      }
    });
  }

  for (const [choice, reasons] of [
    ['auto', 2],
    ['kernel', 1],
    ['fuse-native', 1],
  ] as const) {
    it(`names ${reasons} reason(s) why ${choice} cannot be had where /dev/fuse is closed`, async () => {
      const script = `
        const { chooseDriver } = await import(${JSON.stringify(MODULE)});
        const log = { debug() {}, warn() {}, error() {} };
        // Everything is loaded while it still may be read: the checkout may lie where nobody else may look.
        for (const name of ['kernel', 'fuse-native']) await (await chooseDriver(name, log)).close();
        process.setgid(65534);
        process.setuid(65534);
        const error = await chooseDriver(${JSON.stringify(choice)}, log).catch((error) => error);
        console.log(JSON.stringify(error.fault ?? String(error)));`;
      const node = [process.execPath, '--input-type=module', '-e', script];
      const { stdout, stderr } = await run('unshare', [...CLOSED, directory, ...node]);
      const fault = JSON.parse(stdout.toString() || JSON.stringify(stderr));
      assert.equal(fault.kind, 'no-driver', JSON.stringify(fault));
      assert.equal(fault.reasons.length, reasons);
      for (const reason of fault.reasons) assert.match(reason, /^(kernel|fuse-native): .*EACCES/);
    });
  }
});
