import { Readable } from 'node:stream';

/**
 * The bytes of `body` as a stream that may be destroyed without destroying `body`. A client's request destroyed
 * is its connection destroyed: an upstream that refuses an upload early (401, 413) would then be answered to
 * the client by a reset instead of by what it said.
 */
export function shieldedBody(body: Readable): Readable {
  const source = body.iterator({ destroyOnReturn: false });
  const bytes: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      next: () => source.next() as Promise<IteratorResult<Uint8Array, undefined>>, // a request yields buffers
      return: () => {
        // Not awaited: a `next` in flight ends only when the client sends or goes.
        source.return?.(undefined)?.catch(() => undefined);
        return Promise.resolve({ done: true, value: undefined });
      },
    }),
  };
  return Readable.from(bytes, { objectMode: false });
}
