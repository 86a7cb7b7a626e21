import type { ByteSource } from './byte-window.ts';
import { estargzFooter } from './estargz-footer.ts';
import { EstargzPlanner, type EstargzPart } from './estargz-planner.ts';
import { ESTARGZ_NAME, LANDMARK_CONTENT } from './estargz-toc.ts';
import { gzipMember } from './gzip-writer.ts';
import { MemberQueue } from './seekable-layer.ts';
import { BLOCK_BYTES } from './tar-header.ts';
import { TarParser } from './tar-parser.ts';
import { blockPadding, plainFileHeader } from './tar-writer.ts';

/**
 * A tar stream as an eStargz layer (stargz-snapshotter, docs/estargz.md), which is seekable for Starlight as
 * well. A landmark comes first, saying that nothing is to be fetched ahead (no trace is known), the table of
 * contents last; so the tar, and the diffID, are others than before.
 *
 * @throws {LayerError} when the tar is damaged or holds what eStargz cannot.
 */
export async function* writeEstargzLayer(tar: ByteSource, signal: AbortSignal): AsyncGenerator<Buffer, void> {
  const planner = new EstargzPlanner();
  const queue = new MemberQueue<EstargzPart['chunk']>();
  let offset = 0;
  const next = async (): Promise<Buffer> => {
    const { member, tag } = await queue.next();
    if (tag !== undefined) tag.offset = offset;
    offset += member.length;
    return member;
  };
  const parser = new TarParser(planner);
  planLandmark(planner);
  for await (const bytes of tar) {
    signal.throwIfAborted();
    parser.push(bytes);
    for (const part of planner.take()) {
      while (queue.full) yield await next();
      queue.add(part.bytes, part.chunk);
    }
  }
  parser.end();
  planner.end();
  for (const part of planner.take()) queue.add(part.bytes, part.chunk);
  while (queue.length > 0) yield await next();

  const toc = Buffer.from(JSON.stringify({ version: 1, entries: planner.entries }));
  const header = plainFileHeader(ESTARGZ_NAME.toc, toc.length);
  const end = Buffer.alloc(2 * BLOCK_BYTES);
  yield await gzipMember(Buffer.concat([header, toc, blockPadding(toc.length), end]));
  yield estargzFooter(offset);
}

function planLandmark(planner: EstargzPlanner): void {
  const content = Buffer.from([LANDMARK_CONTENT]);
  planner.meta(plainFileHeader(ESTARGZ_NAME.noPrefetch, content.length));
  planner.landmark(content.length);
  planner.content(content);
  planner.meta(blockPadding(content.length));
}
