/** Entry of the responder thread; its start-up data is the waker, its port the one to its parent. */
import { parentPort, workerData } from 'node:worker_threads';
import type { ResponderStart } from './messages.ts';
import { Responder } from './responder.ts';

if (parentPort !== null) {
  const { waker } = workerData as ResponderStart; // given by ResponderHandle, in the same package
  new Responder(parentPort, waker).run();
}
