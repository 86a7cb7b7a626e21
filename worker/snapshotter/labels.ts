import type { Labels } from './snapshot.ts';
import { SnapshotterError } from './snapshotter-error.ts';

/** Largest label, name and value together, in UTF-8 bytes (containerd, labels/validate.go). */
export const LABEL_MAX_BYTES = 4096;
/** Most labels on one snapshot. */
export const LABELS_MAX = 256;

const LABEL_PATH_PREFIX = 'labels.';

/**
 * Labels as they are stored: those with an empty name or value are left out, as containerd does, so that an
 * update to an empty value removes a label.
 *
 * @throws {SnapshotterError} invalid-argument when a label or their number is too large.
 */
export function checkLabels(labels: Labels): Labels {
  const entries = Object.entries(labels).filter(([name, value]) => name !== '' && value !== '');
  if (entries.length > LABELS_MAX) {
    throw new SnapshotterError('invalid-argument', `more than ${LABELS_MAX} labels`);
  }
  for (const [name, value] of entries) {
    if (Buffer.byteLength(name) + Buffer.byteLength(value) > LABEL_MAX_BYTES) {
      const shown = name.slice(0, 64);
      throw new SnapshotterError(
        'invalid-argument',
        `label ${shown} is larger than ${LABEL_MAX_BYTES} bytes`,
      );
    }
  }
  return Object.fromEntries(entries);
}

/**
 * `current` with the fields of `wanted` that `fieldPaths` name: `labels` all of them, `labels.x` the one named
 * x (the rest of the path, dots included). No paths at all mean every mutable field, which is `labels`.
 *
 * @throws {SnapshotterError} invalid-argument for any other path: nothing else can change.
 */
export function updateLabels(current: Labels, wanted: Labels, fieldPaths: readonly string[]): Labels {
  if (fieldPaths.length === 0) return checkLabels(wanted);
  const next = new Map(Object.entries(current));
  for (const path of fieldPaths) {
    if (path === 'labels') {
      next.clear();
      for (const [name, value] of Object.entries(wanted)) next.set(name, value);
    } else if (path.startsWith(LABEL_PATH_PREFIX)) {
      const name = path.slice(LABEL_PATH_PREFIX.length);
      next.set(name, Object.hasOwn(wanted, name) ? (wanted[name] ?? '') : '');
    } else {
      throw new SnapshotterError('invalid-argument', `cannot update field ${JSON.stringify(path)}`);
    }
  }
  return checkLabels(Object.fromEntries(next));
}
