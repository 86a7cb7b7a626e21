import { Worker } from 'node:worker_threads';

export interface BcryptQuestion {
  readonly password: string;
  readonly hash: string;
}
export type BcryptAnswer = boolean;

interface Waiting {
  readonly resolve: (good: boolean) => void;
  readonly reject: (error: unknown) => void;
}

/** Compares passwords with bcrypt hashes in one thread, one after the other: it takes one core at most. */
export class Bcrypt implements AsyncDisposable {
  #worker: Worker | undefined;
  readonly #waiting: Waiting[] = [];

  /** @throws where the thread ends: the next question starts another. */
  compare(question: BcryptQuestion): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#worker ??= this.#start();
      this.#waiting.push({ resolve, reject }); // answered in order
      this.#worker.postMessage(question);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL('./bcrypt-thread.ts', import.meta.url));
    worker.unref();
    worker.on('message', (good: BcryptAnswer) => this.#waiting.shift()?.resolve(good));
    const end = (error: unknown) => {
      if (this.#worker === worker) this.#worker = undefined;
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    };
    worker.once('error', end);
    worker.once('exit', () => end(new Error('the thread that compares passwords has ended')));
    return worker;
  }
}
