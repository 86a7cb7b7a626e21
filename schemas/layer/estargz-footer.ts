/**
 * The footer of an eStargz layer: an empty gzip member whose extra field says where the table of contents
 * begins in the blob (stargz-snapshotter, docs/estargz.md; estargz/gzip.go).
 *
 *   51 bytes: gzip header 10 (flags: extra) | length of the extra field 2 | "SG" | length of the subfield 2 |
 *             16 hex digits, "STARGZ" | empty stored deflate block 5 | CRC-32 and size, both 0, 8
 *
 * In an older form, of 47 bytes, the hex digits and "STARGZ" are the whole extra field.
 */
export const ESTARGZ_FOOTER_BYTES = 51;

const MAGIC = 'STARGZ';
const SUBFIELD_BYTES = 22;
/** "SG" and the subfield's length. */
const SUBFIELD_HEADER = Buffer.from([0x53, 0x47, SUBFIELD_BYTES, 0]);

/** @param tocOffset of the gzip member of the table of contents, in the blob. */
export function estargzFooter(tocOffset: number): Buffer {
  const subfield = Buffer.from(`${tocOffset.toString(16).padStart(16, '0')}${MAGIC}`, 'latin1');
  const footer = Buffer.alloc(ESTARGZ_FOOTER_BYTES);
  footer.set([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255]);
  footer.writeUInt16LE(subfield.length + 4, 10);
  footer.write('SG', 12, 'latin1');
  footer.writeUInt16LE(subfield.length, 14);
  footer.set(subfield, 16);
  footer.set([1, 0, 0, 0xff, 0xff], 38);
  return footer;
}

/** Where the table of contents begins, by the extra field of a blob's last gzip member; if it is a footer. */
export function parseEstargzFooter(extra: Buffer): number | undefined {
  const start = extra.length === SUBFIELD_BYTES + 4 && extra.subarray(0, 4).equals(SUBFIELD_HEADER) ? 4 : 0;
  if (extra.length - start !== SUBFIELD_BYTES) return undefined;
  const match = /^([0-9a-f]{16})STARGZ$/.exec(extra.toString('latin1', start));
  const offset = Number.parseInt(match?.[1] ?? '', 16);
  return Number.isSafeInteger(offset) ? offset : undefined;
}
