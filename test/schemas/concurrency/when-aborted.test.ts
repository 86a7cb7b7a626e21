import assert from 'node:assert/strict';
import { whenAborted } from '../../../schemas/concurrency/when-aborted.ts';

describe('whenAborted()', () => {
  it('rejects with the reason, once it is there', async () => {
    const controller = new AbortController();
    const aborted = whenAborted(controller.signal);
    assert.equal(await Promise.race([aborted, Promise.resolve('pending')]), 'pending');
    controller.abort(new Error('enough'));
    await assert.rejects(aborted, /enough/);
  });

  it('rejects at once where that has happened before', async () => {
    await assert.rejects(whenAborted(AbortSignal.abort(new Error('before'))), /before/);
  });
});
