import { Worker } from 'node:worker_threads';
import type { FormOrder, FormOutcome } from './build-form.ts';

/**
 * {@link buildForm} in a thread of its own, which ends with it.
 *
 * @throws {Error} what it throws; the signal's reason when that aborts, the thread being gone then (there may be a
 *   temporary file left, or the target)
 */
export async function buildAside(order: FormOrder, signal: AbortSignal): Promise<FormOutcome> {
  signal.throwIfAborted();
  const worker = new Worker(new URL('./form-thread.ts', import.meta.url), {
    workerData: order,
    name: 'starlight-form',
  });
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const outcome = new Promise<FormOutcome>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    void ended.then(() => reject(new Error('the thread ended without an outcome')));
  });
  const stop = (): void => void worker.terminate();
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await outcome;
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
    await ended;
  }
}
