/**
 * The contract of a file system driver: what a tree looks like once it is mounted, how missing contents are
 * waited for, and that overlayfs works above it. Every driver runs it; needs root, /dev/fuse and the Debian
 * packages fuse3 and attr.
 */
import { describeContents } from './contents.ts';
import type { DriverFactory } from './fixture.ts';
import { describeListing } from './listing.ts';
import { describeMetadata } from './metadata.ts';
import { describeOverlay } from './overlay.ts';
import { describeReadOnly } from './read-only.ts';
import { describeTrace } from './trace.ts';
import { describeWaiting } from './waiting.ts';

export function fileSystemSuite(name: string, makeDriver: DriverFactory): void {
  describe(`file system driver ${name}`, () => {
    describeMetadata(makeDriver);
    describeListing(makeDriver);
    describeContents(makeDriver);
    describeReadOnly(makeDriver);
    describeWaiting(makeDriver);
    describeTrace(makeDriver);
    describeOverlay(makeDriver);
  });
}
