import { Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { run } from '../lib/child.ts';

const Version = Type.Object({ version: Type.String(), layers: Type.Integer(), sizeBytes: Type.Integer() });
const DemoImages = Type.Object({
  /** An OCI image layout with the tags `old` and `new`. */
  layout: Type.String(),
  /** False where the packages were only unpacked, without root: good for counting bytes. */
  runnable: Type.Boolean(),
  old: Version,
  new: Version,
});
export type DemoImages = typeof DemoImages.static;

const BUILD_LIMIT_MS = 600_000;

/** Builds the demo's two images unless they are cached. Once `signal` is aborted nothing of the building goes on. */
export async function demoImages(signal: AbortSignal): Promise<DemoImages> {
  const script = new URL('images/build.sh', import.meta.url).pathname;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(BUILD_LIMIT_MS)]);
  const text = await run('setpriv', ['--pdeathsig', 'KILL', '--', script], {
    signal: limit,
    whole: true,
    inheritStderr: true,
  });
  return Value.Decode(DemoImages, JSON.parse(text));
}
