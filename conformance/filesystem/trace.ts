import assert from 'node:assert/strict';
import { type DriverFactory, Fixture, run, start } from './fixture.ts';
import { directory, file, sampleTree } from './sample-tree.ts';

const NAMES = ['c', 'a', 'd/b', 'empty'] as const;

/** First opens, as the optimizer is told. */
export function describeTrace(makeDriver: DriverFactory): void {
  describe('trace of first opens', () => {
    let fixture: Fixture;

    before(async () => {
      fixture = await Fixture.open(makeDriver);
    });
    after(() => fixture.close());

    const tree = sampleTree([
      directory('d'),
      ...NAMES.map((name) => file(name, Buffer.from(name === 'empty' ? '' : name))),
    ]);

    async function mountTraced() {
      const opened: string[] = [];
      const mount = await fixture.mount(tree, {
        onOpen: (inode) => opened.push(Buffer.from(tree.firstPath(inode)).toString()),
      });
      return { ...mount, opened };
    }

    it('reports each file once, in the order of first opens', async () => {
      const { path, contents, opened } = await mountTraced();
      for (const name of NAMES) contents.put(Buffer.from(name));
      await run('sh', ['-c', 'cd "$0"; ls -lR . >&2; stat a; cat c a c d/b a empty', path]);
      assert.deepEqual(opened, ['c', 'a', 'd/b', 'empty']);
    });

    it('reports in the order of asking, not of arrival', async () => {
      const { path, contents, opened } = await mountTraced();
      const first = start('cat', [`${path}/c`]);
      await contents.until(() => contents.wanted.length === 1);
      const second = start('cat', [`${path}/a`]);
      await contents.until(() => contents.wanted.length === 2);
      contents.put(Buffer.from('a'));
      await second.ended;
      contents.put(Buffer.from('c'));
      await first.ended;
      assert.deepEqual(opened, ['c', 'a']);
    });

    it('begins anew when told to', async () => {
      const { path, contents, opened, mounted } = await mountTraced();
      for (const name of NAMES) contents.put(Buffer.from(name));
      await run('cat', [`${path}/c`, `${path}/a`]);
      mounted.restartTrace();
      await run('cat', [`${path}/a`, `${path}/c`, `${path}/a`]);
      assert.deepEqual(opened, ['c', 'a', 'a', 'c']);
    });
  });
}
