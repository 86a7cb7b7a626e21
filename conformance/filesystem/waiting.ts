import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type DriverFactory, Fixture, run, start } from './fixture.ts';
import { SampleContents, sampleBytes, sha256 } from './sample-content.ts';
import { file, sampleTree } from './sample-tree.ts';

const LATE = sampleBytes(300_000, 7);
const HERE = Buffer.from('already here');
const MANY = 200;

/** Contents that are on their way, late, or never come. */
export function describeWaiting(makeDriver: DriverFactory): void {
  describe('waiting for contents', () => {
    let fixture: Fixture;

    before(async () => {
      fixture = await Fixture.open(makeDriver);
    });
    after(() => fixture.close());

    const tree = () => sampleTree([file('late', LATE), file('late-too', LATE), file('here', HERE)]);

    it('lets a reader wait until the content is there', async () => {
      const { path, contents, mounted } = await fixture.mount(tree());
      const reader = start('cat', [`${path}/late`]);
      await contents.until(() => contents.wanted.length > 0);
      assert.equal(mounted.stats().waiting, 1);
      contents.put(LATE);
      assert.ok((await reader.ended).stdout.equals(LATE));
      assert.deepEqual(mounted.stats(), { waiting: 0, waited: 1, failed: 0 });
    });

    it('shows everything but the content meanwhile', async () => {
      const { path, contents } = await fixture.mount(tree());
      contents.put(HERE);
      const reader = start('cat', [`${path}/late`]);
      await contents.until(() => contents.wanted.length > 0);
      assert.equal(await readFile(`${path}/here`, 'utf8'), HERE.toString());
      const { stdout } = await run('stat', ['-c', '%s', `${path}/late`]);
      assert.equal(Number(stdout.toString()), LATE.length);
      contents.put(LATE);
      assert.equal((await reader.ended).code, 0);
    });

    it('asks once for a content however many wait for it', async () => {
      const { path, contents, mounted } = await fixture.mount(tree());
      const readers = Array.from({ length: 5 }, () => start('cat', [`${path}/late`, `${path}/late-too`]));
      await waitUntil(() => mounted.stats().waiting === 5);
      assert.deepEqual(contents.wanted, [sha256(LATE)]);
      contents.put(LATE);
      for (const reader of readers) assert.equal((await reader.ended).stdout.length, 2 * LATE.length);
    });

    it(`lets ${MANY} readers wait at once, and the rest go on`, async () => {
      const all = Array.from({ length: MANY }, (_, index) => Buffer.from(`late content ${index}\n`));
      const { path, contents } = await fixture.mount(
        sampleTree([file('here', HERE), ...all.map((bytes, index) => file(`late-${index}`, bytes))]),
      );
      contents.put(HERE);
      const script = `i=0; while [ $i -lt ${MANY} ]; do cat "$0/late-$i" & i=$((i+1)); done; wait`;
      const readers = start('sh', ['-c', script, path]);
      await contents.until(() => contents.wanted.length === MANY);
      assert.equal(await readFile(`${path}/here`, 'utf8'), HERE.toString());
      for (const bytes of all.toReversed()) contents.put(bytes);
      const { stdout } = await readers.ended;
      assert.deepEqual(
        stdout.toString().trimEnd().split('\n').sort(),
        all.map((bytes) => bytes.toString().trimEnd()).sort(),
      );
    });

    it('ends the wait with EIO at the limit', async () => {
      const { path, contents, mounted } = await fixture.mount(tree(), { waitLimitMs: 50 });
      const { code, stderr, stdout } = await run('cat', [`${path}/late`]);
      assert.equal(code, 1);
      assert.equal(stdout.length, 0);
      assert.match(stderr, /Input\/output error/);
      assert.deepEqual(contents.abandoned, [sha256(LATE)]);
      assert.equal(mounted.stats().failed, 1);
    });

    it('ends the wait with EIO when the content is given up, and says so', async () => {
      const { path, contents } = await fixture.mount(tree());
      const before = fixture.log.lines.length;
      const reader = start('cat', [`${path}/late`]);
      await contents.until(() => contents.wanted.length > 0);
      contents.giveUp(sha256(LATE));
      const { code, stderr } = await reader.ended;
      assert.equal(code, 1);
      assert.match(stderr, /Input\/output error/);
      assert.ok(fixture.log.lines.length > before);
    });

    it('asks again after a failure', async () => {
      const { path, contents } = await fixture.mount(tree(), { waitLimitMs: 50 });
      assert.equal((await run('cat', [`${path}/late`])).code, 1);
      contents.put(LATE);
      assert.ok((await run('cat', [`${path}/late`])).stdout.equals(LATE));
    });

    it('never shows a content of the wrong size', async () => {
      const contents = new SampleContents(join(fixture.directory, 'damaged'));
      const damaged = contents.pathOf(sha256(LATE));
      mkdirSync(join(damaged, '..'), { recursive: true });
      writeFileSync(damaged, LATE.subarray(1));
      const { path } = await fixture.mount(tree(), {}, contents);
      const { code, stdout, stderr } = await run('cat', [`${path}/late`]);
      assert.deepEqual([code, stdout.length], [1, 0]);
      assert.match(stderr, /Input\/output error/);
    });

    it('unmounts while readers wait: they get EIO', async () => {
      const { path, contents, mounted } = await fixture.mount(tree());
      const reader = start('cat', [`${path}/late`]);
      await contents.until(() => contents.wanted.length > 0);
      await mounted.unmount();
      await mounted.closed;
      const { code, stderr } = await reader.ended;
      assert.equal(code, 1);
      assert.match(stderr, /Input\/output error/);
      assert.deepEqual(contents.abandoned, [sha256(LATE)]);
      assert.equal(mounted.stats().failed, 1);
    });

    it('unmounts twice as once', async () => {
      const { path, mounted } = await fixture.mount(tree());
      await Promise.all([mounted.unmount(), mounted.unmount()]);
      await mounted.unmount();
      assert.notEqual((await run('mountpoint', ['-q', path])).code, 0);
    });

    it('goes on waiting through other signals than SIGKILL', async () => {
      const { path, contents, mounted } = await fixture.mount(tree());
      const reader = start('bash', ['-c', 'trap : USR1; exec 3<"$0"; cat <&3', `${path}/late`]);
      await contents.until(() => contents.wanted.length > 0);
      reader.child.kill('SIGUSR1');
      // Served after the signal has been sent: the answer to the signal would come before this one.
      await run('stat', [`${path}/here`]);
      assert.equal(mounted.stats().waiting, 1);
      contents.put(LATE);
      assert.ok((await reader.ended).stdout.equals(LATE));
    });

    for (const first of [undefined, 'SIGUSR1'] as const) {
      it(`lets a waiting process be killed${first === undefined ? '' : ` after ${first}`}: at once, or once its content is there`, async () => {
        const { path, contents, mounted } = await fixture.mount(tree());
        const reader = start('bash', ['-c', 'trap : USR1; exec 3<"$0"', `${path}/late`]);
        await contents.until(() => contents.wanted.length > 0);
        if (first !== undefined) reader.child.kill(first);
        await run('stat', [`${path}/here`]);
        reader.child.kill('SIGKILL');
        if (!fixture.driver.abilities.killable) {
          // Served after the signal has been sent: had it ended the wait, nobody would be waiting any more.
          await run('stat', [`${path}/here`]);
          assert.equal(mounted.stats().waiting, 1);
          contents.put(LATE);
        }
        assert.equal((await reader.ended).signal, 'SIGKILL');
        if (fixture.driver.abilities.killable) await contents.until(() => contents.abandoned.length > 0);
        assert.equal(mounted.stats().failed, 0);
      });
    }
  });
}

/** Looks until `condition` holds; for states that nothing announces. */
async function waitUntil(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
