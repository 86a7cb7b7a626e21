import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

/** The unit in the README is what people copy. */
describe('the systemd unit of worker/README.md', () => {
  const readme = readFileSync(new URL('../../worker/README.md', import.meta.url), 'utf8');
  const unit = /```ini\n(\[Unit\][^`]*)```/.exec(readme)?.[1]?.split('\n') ?? [];

  const settings: readonly (readonly [string, string])[] = [
    [
      'KillMode=process',
      'else the processes that hold the mounts die with the daemon, and containers with them',
    ],
    [
      'RuntimeDirectoryPreserve=yes',
      'else containerd loses the path of the socket while the daemon restarts',
    ],
    ['Restart=always', 'containers wait for the next daemon'],
    ['Before=containerd.service', 'containerd looks for the snapshotter when it starts'],
  ];
  for (const [setting, why] of settings) {
    it(`says ${setting}: ${why}`, () => assert.equal(unit.filter((line) => line === setting).length, 1));
  }
});
