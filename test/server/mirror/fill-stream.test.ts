import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import type { Fill } from '../../../server/mirror/fill.ts';
import { FillStream } from '../../../server/mirror/fill-stream.ts';
import { MirrorError } from '../../../server/mirror/mirror-error.ts';

const BYTES = Buffer.from('0123456789');

/** All of a content is there, and nothing of it proven until that is settled. */
class Unproven {
  readonly sizeBytes = BYTES.length;
  readonly proof = Promise.withResolvers<void>();
  verified = false;

  join(): () => void {
    return () => undefined;
  }

  async ready(): Promise<number> {
    return BYTES.length;
  }

  async read(start: number, end: number): Promise<Uint8Array> {
    return BYTES.subarray(start, end);
  }

  async whenVerified(): Promise<void> {
    await this.proof.promise;
    this.verified = true;
  }
}

function streamOf(fill: Unproven, start: number, end: number) {
  const source = () => assert.fail('nothing is asked for');
  // What a stream uses of a fill.
  const stream = new FillStream(fill as unknown as Fill, start, end, source);
  const seen: Buffer[] = [];
  const ended = new Promise<string>((resolve) => {
    stream.on('data', (bytes: Buffer) => seen.push(bytes));
    stream.once('end', () => resolve('end'));
    stream.once('error', (error) => resolve(error.message));
  });
  return { seen: () => Buffer.concat(seen).toString(), ended };
}

describe('FillStream', () => {
  it('gives the last byte of a whole content when it is proven, and no sooner', async () => {
    const fill = new Unproven();
    const { seen, ended } = streamOf(fill, 0, BYTES.length);
    while (seen().length < BYTES.length - 1) await turn();
    for (let turns = 0; turns < 20; turns += 1) await turn();
    assert.equal(seen(), '012345678');
    fill.proof.resolve();
    assert.equal(await ended, 'end');
    assert.equal(seen(), '0123456789');
  });

  it('breaks before the last byte of one that is another', async () => {
    const fill = new Unproven();
    const { seen, ended } = streamOf(fill, 0, BYTES.length);
    fill.proof.reject(new MirrorError({ kind: 'wrong-digest', actual: 'x' }));
    assert.equal(await ended, 'wrong-digest');
    assert.equal(seen(), '012345678');
  });

  it('waits for no proof of a part', async () => {
    const { seen, ended } = streamOf(new Unproven(), 2, BYTES.length);
    assert.equal(await ended, 'end');
    assert.equal(seen(), '23456789');
  });
});
