import { once } from 'node:events';
import type { sendUnaryData, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';
import { grpcError, isFault } from './grpc-error.ts';
import type { Log } from './log.ts';

type CancellableCall = { readonly cancelled: boolean; on(event: 'cancelled', listener: () => void): unknown };

/** A unary gRPC handler of an asynchronous function; the signal is aborted when the caller goes away. */
export function unary<Request, Response>(
  log: Log,
  handle: (request: Request, signal: AbortSignal) => Promise<Response> | Response,
): (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>) => void {
  return (call, callback) => {
    void (async () => {
      try {
        callback(null, await handle(call.request, signalOf(call)));
      } catch (error) {
        report(log, call.getPath(), error);
        callback(grpcError(error));
      }
    })();
  };
}

/** A gRPC handler that streams the messages of an iterable, as fast as the caller takes them. */
export function streaming<Request, Response>(
  log: Log,
  handle: (request: Request) => Iterable<Response>,
): (call: ServerWritableStream<Request, Response>) => void {
  return (call) => {
    void (async () => {
      const signal = signalOf(call);
      try {
        for (const message of handle(call.request)) {
          if (!call.write(message)) await once(call, 'drain', { signal });
          signal.throwIfAborted();
        }
        call.end();
      } catch (error) {
        report(log, call.getPath(), error);
        call.emit('error', grpcError(error));
      }
    })();
  };
}

function signalOf(call: CancellableCall): AbortSignal {
  const controller = new AbortController();
  call.on('cancelled', () => controller.abort());
  if (call.cancelled) controller.abort();
  return controller.signal;
}

function report(log: Log, method: string, error: unknown): void {
  if (isFault(error)) log.error({ err: error, method }, 'snapshotter call failed');
}
