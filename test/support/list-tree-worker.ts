import { parentPort, workerData } from 'node:worker_threads';
import { listTree } from './tree-listing.ts';

parentPort?.postMessage(listTree(String(workerData)));
