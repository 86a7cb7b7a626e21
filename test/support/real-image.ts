import { demoImages } from '../../scripts/demo/images.ts';

/** A real image of some three thousand files, on the disk as an OCI layout: built once from Debian packages, and cached. */
export async function realImage(): Promise<{ layout: string; tag: string; nextTag: string }> {
  const { layout } = await demoImages(AbortSignal.timeout(600_000));
  return { layout, tag: 'old', nextTag: 'new' };
}
