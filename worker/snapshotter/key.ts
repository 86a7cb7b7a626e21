import type { SnapshotKey } from './snapshot.ts';
import { SnapshotterError } from './snapshotter-error.ts';

/** Longest key accepted, in UTF-8 bytes; containerd's own database ends at 32 KiB. */
export const KEY_MAX_BYTES = 4096;

/** @throws {SnapshotterError} invalid-argument when `text` is empty, too long or has a NUL. */
export function parseKey(text: string, what: string): SnapshotKey {
  if (text === '') throw new SnapshotterError('invalid-argument', `${what} is empty`);
  if (Buffer.byteLength(text) > KEY_MAX_BYTES) {
    throw new SnapshotterError('invalid-argument', `${what} is longer than ${KEY_MAX_BYTES} bytes`);
  }
  if (text.includes('\0')) throw new SnapshotterError('invalid-argument', `${what} contains a NUL`);
  return text as SnapshotKey;
}

/** The same for a parent, which may be absent (empty on the wire). */
export function parseParent(text: string): SnapshotKey | undefined {
  return text === '' ? undefined : parseKey(text, 'parent');
}
