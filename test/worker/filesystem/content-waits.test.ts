import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SampleContents, sha256 } from '../../../conformance/filesystem/sample-content.ts';
import { ContentWaits } from '../../../worker/filesystem/content-waits.ts';

const BYTES = Buffer.from('awaited');
const DIGEST = sha256(BYTES);
const OTHER = sha256(Buffer.from('other'));
const never = new AbortController().signal;

describe('ContentWaits', () => {
  let directory: string;
  let contents: SampleContents;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'starlight-waits-'));
    contents = new SampleContents(directory);
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it('wants once for many waiters, and lets all go', async () => {
    const waits = new ContentWaits(contents, 0);
    const outcomes = Array.from({ length: 300 }, () => waits.wait(DIGEST, never));
    assert.deepEqual(contents.wanted, [DIGEST]);
    assert.equal(waits.stats().waiting, 300);
    contents.put(BYTES);
    assert.deepEqual([...new Set(await Promise.all(outcomes))], ['arrived']);
    assert.deepEqual(waits.stats(), { waiting: 0, waited: 300, failed: 0 });
  });

  it('calls the want off when the last waiter has left, not before', async () => {
    const waits = new ContentWaits(contents, 0);
    const [first, second] = [new AbortController(), new AbortController()];
    const outcomes = [waits.wait(DIGEST, first.signal), waits.wait(DIGEST, second.signal)];
    first.abort();
    assert.equal(await outcomes[0], 'left');
    assert.deepEqual(contents.abandoned, []);
    second.abort();
    assert.equal(await outcomes[1], 'left');
    assert.deepEqual(contents.abandoned, [DIGEST]);
    assert.equal(waits.stats().failed, 0);
  });

  it('gives each waiter its own limit', async () => {
    const waits = new ContentWaits(contents, 5);
    assert.equal(await waits.wait(DIGEST, never), 'limit');
    assert.deepEqual(contents.abandoned, [DIGEST]);
    assert.deepEqual(waits.stats(), { waiting: 0, waited: 1, failed: 1 });
  });

  it('fails who waits when the content is given up, tells it once, and asks anew later', async () => {
    const faults: string[] = [];
    const waits = new ContentWaits(contents, 0, (digest) => faults.push(digest));
    const outcomes = [waits.wait(DIGEST, never), waits.wait(DIGEST, never)];
    contents.giveUp(DIGEST);
    assert.deepEqual(await Promise.all(outcomes), ['failed', 'failed']);
    assert.deepEqual(faults, [DIGEST]);
    const again = waits.wait(DIGEST, never);
    contents.put(BYTES);
    assert.equal(await again, 'arrived');
  });

  it('does not mix up contents', async () => {
    const waits = new ContentWaits(contents, 0);
    const leaving = new AbortController();
    const other = waits.wait(OTHER, leaving.signal);
    const wanted = waits.wait(DIGEST, never);
    contents.put(BYTES);
    assert.equal(await wanted, 'arrived');
    assert.equal(waits.stats().waiting, 1);
    leaving.abort();
    assert.equal(await other, 'left');
  });

  it('ends all waits when closed, later ones too', async () => {
    const waits = new ContentWaits(contents, 0);
    const outcome = waits.wait(DIGEST, never);
    waits.close();
    assert.equal(await outcome, 'closed');
    assert.equal(await waits.wait(OTHER, never), 'closed');
    assert.deepEqual(contents.wanted, [DIGEST]);
    assert.deepEqual(contents.abandoned, [DIGEST]);
  });

  it('takes a waiter that has left already for what it is', async () => {
    const waits = new ContentWaits(contents, 0);
    assert.equal(await waits.wait(DIGEST, AbortSignal.abort()), 'left');
    assert.deepEqual(contents.wanted, []);
  });

  it('fails, and does not reject, when want() throws at once', async () => {
    const source = {
      directory,
      want: () => {
        throw new Error('at once');
      },
    };
    assert.equal(await new ContentWaits(source, 0).wait(DIGEST, never), 'failed');
  });
});
