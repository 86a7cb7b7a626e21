import { setTimeout as delay } from 'node:timers/promises';
import {
  type CallOptions,
  Client,
  credentials,
  type Metadata,
  type MethodDefinition,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { asContainerdError, ContainerdError } from './containerd-error.ts';

export type RpcOptions = {
  /** The socket's path. */
  readonly address: string;
  /** Longest wait for one answer. */
  readonly timeoutMs: number;
  /** How often a call is tried again while containerd is unreachable (it may be restarting). */
  readonly retries: number;
  readonly retryDelayMs: number;
};

const RECONNECT_MIN_MS = 100;
const RECONNECT_MAX_MS = 1000;

/** One connection to containerd's socket; calls are made by method definition, so that no stub is generated. */
export class Rpc {
  readonly #client: Client;
  readonly #options: RpcOptions;

  constructor(options: RpcOptions) {
    this.#options = options;
    this.#client = new Client(`unix://${options.address}`, credentials.createInsecure(), {
      'grpc.initial_reconnect_backoff_ms': RECONNECT_MIN_MS,
      'grpc.max_reconnect_backoff_ms': RECONNECT_MAX_MS,
    });
  }

  /** @throws {ContainerdError}; the signal's reason when that aborts. */
  async unary<Q extends object, A>(
    service: ServiceDefinition,
    name: string,
    request: Q,
    metadata: Metadata,
    signal: AbortSignal,
    retries: number = this.#options.retries,
  ): Promise<A> {
    const method = methodOf<Q, A>(service, name);
    return this.#retrying(
      method.path,
      retries,
      signal,
      () =>
        new Promise<A>((resolve, reject) => {
          const call = this.#client.makeUnaryRequest<Q, A>(
            method.path,
            method.requestSerialize,
            method.responseDeserialize,
            request,
            metadata,
            this.#callOptions(),
            (error, answer) => {
              signal.removeEventListener('abort', cancel);
              if (signal.aborted) reject(signal.reason);
              else if (error !== null) reject(error);
              else if (answer === undefined) reject(new Error('no answer'));
              else resolve(answer);
            },
          );
          const cancel = (): void => call.cancel();
          signal.addEventListener('abort', cancel, { once: true });
        }),
    );
  }

  /** Sends one message on a bidirectional stream and takes the last one that comes back. */
  async exchange<Q extends object, A>(
    service: ServiceDefinition,
    name: string,
    request: Q,
    metadata: Metadata,
    signal: AbortSignal,
  ): Promise<A> {
    const method = methodOf<Q, A>(service, name);
    return this.#retrying(method.path, this.#options.retries, signal, async () => {
      const call = this.#client.makeBidiStreamRequest<Q, A>(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        metadata,
        this.#callOptions(),
      );
      const cancel = (): void => call.cancel();
      signal.addEventListener('abort', cancel, { once: true });
      try {
        let last: A | undefined;
        call.write(request);
        call.end();
        for await (const message of call) last = message as A; // the method's own deserialiser made it
        if (last === undefined) throw new Error('no answer');
        return last;
      } finally {
        signal.removeEventListener('abort', cancel);
      }
    });
  }

  close(): void {
    this.#client.close();
  }

  #callOptions(): CallOptions {
    return { deadline: Date.now() + this.#options.timeoutMs };
  }

  async #retrying<A>(what: string, retries: number, signal: AbortSignal, call: () => Promise<A>): Promise<A> {
    for (let attempt = 0; ; attempt++) {
      signal.throwIfAborted();
      try {
        return await call();
      } catch (cause) {
        signal.throwIfAborted();
        const error = asContainerdError(cause, what, this.#options.address);
        if (error.kind !== 'unavailable' || attempt >= retries) throw error;
        await delay(this.#options.retryDelayMs, undefined, { signal });
      }
    }
  }
}

function methodOf<Q, A>(service: ServiceDefinition, name: string): MethodDefinition<Q, A> {
  const method = service[name];
  if (method === undefined) throw new ContainerdError('refused', `no such method: ${name}`);
  return method as MethodDefinition<Q, A>; // the caller states the messages that the .proto has for it
}
