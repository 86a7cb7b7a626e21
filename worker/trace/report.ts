import { isUtf8 } from 'node:buffer';
import { DownloadError } from '../download/download-error.ts';
import type { AuthScope } from '../download/auth-scope.ts';
import type { ImageTraces, TraceRecorder } from './trace-recorder.ts';

/** Sends JSON to the proxy; ProxyClient fits. */
export interface ReportTarget {
  post(path: string, value: unknown, scope: AuthScope, signal: AbortSignal): Promise<unknown>;
}

export type ReportedImage = {
  readonly reference: string;
  readonly opens: number;
  readonly accepted: number;
};

/**
 * Sends every trace to the proxy, image by image, and forgets what it took. What fails stays for the next time.
 * @throws {DownloadError} of the first failure.
 */
export async function reportTraces(
  recorder: TraceRecorder,
  target: ReportTarget,
  scopeOf: (image: ImageTraces) => AuthScope,
  signal: AbortSignal,
): Promise<ReportedImage[]> {
  const reported: ReportedImage[] = [];
  for (const image of recorder.collect()) {
    const answer = await target.post('/starlight/report', bodyOf(image), scopeOf(image), signal);
    const accepted = acceptedOf(answer);
    recorder.remove(image.traces);
    const host = image.host === '' ? '' : `${image.host}/`;
    reported.push({
      reference: `${host}${image.repository}@${image.manifestDigest}`,
      opens: image.traces.reduce((sum, trace) => sum + trace.opens.length, 0),
      accepted,
    });
  }
  return reported;
}

function bodyOf(image: ImageTraces): object {
  return {
    image: image.manifestDigest,
    name: image.repository,
    ...(image.host === '' ? {} : { ns: image.host }),
    traces: image.traces
      .filter((trace) => trace.opens.length > 0)
      .map((trace) => ({ opens: trace.opens.map(pathOf) })),
  };
}

/** A path is a text, or base64 where it is not UTF-8. */
function pathOf(path: Uint8Array): string | { readonly b64: string } {
  const bytes = Buffer.from(path);
  return isUtf8(bytes) ? bytes.toString('utf8') : { b64: bytes.toString('base64') };
}

function acceptedOf(answer: unknown): number {
  if (typeof answer === 'object' && answer !== null && 'accepted' in answer) {
    if (typeof answer.accepted === 'number') return answer.accepted;
  }
  throw new DownloadError('malformed', 'the proxy does not say how many traces it accepted');
}
