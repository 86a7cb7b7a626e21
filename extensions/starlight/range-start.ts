/**
 * Where `bytes=N-` begins; 0, the whole, for every other form: RFC 9110, section 14.2 lets a server pass over
 * a Range header, and to go on from where a stream was cut is all that a bundle's reader needs.
 */
export function rangeStart(range: string | undefined): number {
  const match = /^bytes=[ \t]*(\d{1,15})-[ \t]*$/i.exec(range ?? '');
  return match === null ? 0 : Number(match[1]);
}
