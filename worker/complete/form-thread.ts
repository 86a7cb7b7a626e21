/** Entry of the thread that writes one metadata image; its start-up data is the order, its one message the outcome. */
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { buildForm, type FormOrder } from './build-form.ts';

/** nice(1)'s: after everything that somebody waits for. On Linux it is the thread's alone. */
const BACKGROUND_PRIORITY = 10;

if (parentPort !== null) {
  setPriority(BACKGROUND_PRIORITY);
  parentPort.postMessage(await buildForm(workerData as FormOrder)); // given by buildAside, in the same package
}
