import { firstError } from '../../schemas/body/error-body.ts';
import { readStart } from '../../schemas/body/read-body.ts';
import { formatReference, InvalidReferenceError, parseReference } from '../../schemas/oci/reference.ts';
import { CliError } from './cli-error.ts';

export interface NotifyRequest {
  readonly reference: string;
  /** The proxy's URL. */
  readonly proxy: string;
  readonly token?: string;
  /** `user:password` for the registry. */
  readonly user?: string;
}

export interface NotifyAnswer {
  readonly images: readonly {
    readonly platform: string;
    readonly manifestDigest: string;
    readonly status: 'ingested' | 'already' | 'not-converted';
    readonly reason?: string;
  }[];
}

/** Reading the layers of a large image takes the proxy its time. */
const TIMEOUT_MS = 15 * 60_000;
const MAX_ANSWER_BYTES = 4 << 20;
const MAX_ERROR_CHARS = 2000;

/** POST /starlight/notify. @throws {CliError} with the proxy's own code and message, or saying that it is not there. */
export async function notifyProxy(request: NotifyRequest, signal: AbortSignal): Promise<NotifyAnswer> {
  const { host, ...local } = readReference(request.reference);
  let response: Response;
  try {
    response = await fetch(new URL('/starlight/notify', request.proxy), {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(request.token === undefined ? {} : { 'starlight-token': request.token }),
        ...(request.user === undefined
          ? {}
          : { authorization: `Basic ${Buffer.from(request.user).toString('base64')}` }),
      },
      body: JSON.stringify({
        reference: formatReference({ ...local, host: '' }),
        ...(host === '' ? {} : { ns: host }),
      }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
  } catch (cause) {
    signal.throwIfAborted();
    throw new CliError('proxy-unreachable', `cannot reach the proxy ${request.proxy}`, {
      cause,
      hint: 'name it with --proxy or STARLIGHT_PROXY',
    });
  }
  const text = await readStart(response.body ?? [], MAX_ANSWER_BYTES);
  if (response.ok) return JSON.parse(text) as NotifyAnswer; // the shape is the extension's contract
  throw proxyError(response.status, text);
}

function readReference(text: string): ReturnType<typeof parseReference> {
  try {
    return parseReference(text);
  } catch (cause) {
    if (cause instanceof InvalidReferenceError)
      throw new CliError('invalid-reference', cause.message, { cause });
    throw cause;
  }
}

function proxyError(status: number, text: string): CliError {
  const { code, message } = firstError(text);
  if (code !== undefined) return new CliError(code, `the proxy refused: ${message ?? status} (${code})`);
  return new CliError('proxy-failed', `the proxy answered ${status}: ${text.slice(0, MAX_ERROR_CHARS)}`);
}
