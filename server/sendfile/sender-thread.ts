/** Entry of the sending thread; its port is the one to its parent. */
import { parentPort, workerData } from 'node:worker_threads';
import type { ThreadData } from './messages.ts';
import { Sender } from './sender.ts';

if (parentPort !== null) new Sender(parentPort, workerData as ThreadData).run(); // given by FileSender
