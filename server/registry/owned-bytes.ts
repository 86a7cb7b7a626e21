import type { Readable } from 'node:stream';

/**
 * The chunks that `chunks` makes of `stream`, as something that is let go of by `return()` even before the first
 * chunk was asked for: a generator that never ran does not run its `finally` either, and would leave the file or
 * connection under the stream open.
 */
export function ownedBytes(stream: Readable, chunks: AsyncGenerator<Uint8Array>): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => chunks.next(),
      return: () => {
        stream.destroy();
        return chunks.return(undefined);
      },
    }),
  };
}
