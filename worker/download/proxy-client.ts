import { Agent, type Dispatcher, request } from 'undici';
import type { Digest } from '../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { firstError } from '../../schemas/body/error-body.ts';
import { readStart } from '../../schemas/body/read-body.ts';
import { RegistryAuth } from '../../schemas/registry-auth/registry-auth.ts';
import { RegistryAuthError } from '../../schemas/registry-auth/registry-auth-error.ts';
import type { ClientTls } from '../../schemas/tls/client-tls.ts';
import { type AuthScope, tokenScope } from './auth-scope.ts';
import { DownloadError, kindOfAnswer } from './download-error.ts';

export type ProxyClientOptions = {
  readonly url: string;
  readonly token?: string | undefined;
  readonly connectTimeoutMs: number;
  readonly headerTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly nowMs: () => number;
  /** Whom to trust, and who we are; undefined trusts the public authorities. */
  readonly tls?: ClientTls | undefined;
};

/** The question for a bundle; references without host, which goes as `ns`. */
export type DeltaQuestion = {
  readonly to: string;
  readonly from: readonly string[];
  readonly platform: string;
};

export type BundleStream = {
  readonly body: AsyncIterable<Uint8Array>;
  /** Where in the bundle the body begins: 0, or the offset asked for. */
  readonly offset: number;
  readonly etag: string | undefined;
  /** Of the whole bundle, where it is told. */
  readonly lengthBytes: number | undefined;
  /** Ends the transfer. */
  readonly cancel: () => void;
};

export type Resume = { readonly offset: number; readonly etag: string };

/** A GET line longer than this becomes a POST. */
const MAX_QUERY_LENGTH = 4000;
const MAX_ERROR_TEXT = 500;
const MAX_ANSWER_BYTES = 256 * 1024;

type Question = {
  readonly method: 'GET' | 'POST' | 'HEAD';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
};

/** The Starlight proxy, as the worker asks it. Failures are {@link DownloadError}s. */
export class ProxyClient {
  readonly #options: ProxyClientOptions;
  readonly #dispatcher: Agent;
  readonly #auth: RegistryAuth;

  constructor(options: ProxyClientOptions) {
    this.#options = options;
    this.#dispatcher = new Agent({ connect: { timeout: options.connectTimeoutMs, ...options.tls } });
    this.#auth = new RegistryAuth({
      dispatcher: this.#dispatcher,
      timeoutMs: options.headerTimeoutMs,
      nowMs: options.nowMs,
      access: 'challenged',
      insecure: false,
    });
  }

  get url(): string {
    return this.#options.url;
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }

  /**
   * The delta bundle; with `resume`, from that byte on if the bundle still is the same, else from its start
   * (`offset` tells).
   */
  async delta(
    question: DeltaQuestion,
    scope: AuthScope,
    resume: Resume | undefined,
    signal: AbortSignal,
  ): Promise<BundleStream> {
    const answer = await this.#ask(deltaRequest(question, scope.host, resume), scope, signal);
    const { statusCode, headers, body } = answer;
    const cancel = (): void => void body.destroy();
    // A stream that is cancelled reports an error to nobody in particular.
    body.on('error', () => undefined);
    if (statusCode === 206) {
      const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(header(headers, 'content-range') ?? '');
      if (resume === undefined || Number(range?.[1]) !== resume.offset) {
        cancel();
        throw new DownloadError('malformed', 'the proxy answers with another range than was asked for');
      }
      return { body, offset: resume.offset, etag: resume.etag, lengthBytes: Number(range?.[2]), cancel };
    }
    const type = header(headers, 'content-type')?.split(';')[0]?.trim();
    if (type !== MEDIA_TYPE.starlightBundle) {
      cancel();
      throw new DownloadError('malformed', `the proxy answers with ${type ?? 'no type'} instead of a bundle`);
    }
    const length = header(headers, 'content-length');
    const etag = header(headers, 'etag');
    return {
      body,
      offset: 0,
      etag: etag?.startsWith('W/') === true ? undefined : etag,
      lengthBytes: length === undefined ? undefined : Number(length),
      cancel,
    };
  }

  /**
   * A byte range of a blob of the registry; the caller knows what it must be and verifies it.
   * @throws {DownloadError} `malformed` when the registry does not serve ranges.
   */
  async blobRange(
    digest: Digest,
    offset: number,
    lengthBytes: number,
    scope: AuthScope,
    signal: AbortSignal,
  ): Promise<{ readonly body: AsyncIterable<Uint8Array>; readonly cancel: () => void }> {
    const path = `/v2/${scope.repository}/blobs/${digest}${nsQuery(scope.host)}`;
    const range = `bytes=${offset}-${offset + lengthBytes - 1}`;
    const { statusCode, body } = await this.#ask({ method: 'GET', path, headers: { range } }, scope, signal);
    const cancel = (): void => void body.destroy();
    body.on('error', () => undefined); // whoever reads it hears of it; after a cancel nobody does
    if (statusCode === 206) return { body, cancel };
    cancel();
    throw new DownloadError('malformed', `the registry behind the proxy does not serve ranges of ${digest}`);
  }

  /** Sends JSON and gives back the JSON of the answer. */
  async post(path: string, value: unknown, scope: AuthScope, signal: AbortSignal): Promise<unknown> {
    const token = this.#options.token;
    const headers = {
      'content-type': 'application/json',
      ...(token === undefined ? {} : { 'starlight-token': token }),
    };
    const answer = await this.#ask(
      { method: 'POST', path, headers, body: JSON.stringify(value) },
      scope,
      signal,
    );
    return JSON.parse(await readStart(answer.body, MAX_ANSWER_BYTES));
  }

  /** Whether the proxy answers at all; any HTTP answer will do. @throws {DownloadError} `unreachable`. */
  async ping(signal: AbortSignal): Promise<void> {
    const answer = await this.#send({ method: 'GET', path: '/v2/' }, undefined, signal);
    await answer.body.dump();
  }

  /** Asks, meets one challenge, and turns an answer that is no success into a {@link DownloadError}. */
  async #ask(question: Question, scope: AuthScope, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const wanted = tokenScope(scope);
    let answer = await this.#send(question, this.#auth.known(wanted), signal);
    if (answer.statusCode === 401) {
      await answer.body.dump();
      this.#auth.forget(wanted);
      const authorization = await this.#auth
        .answer(wanted, answer.headers['www-authenticate'], signal)
        .catch(asDownloadError);
      answer = await this.#send(question, authorization, signal);
      if (answer.statusCode === 401) this.#auth.forget(wanted);
    }
    if (answer.statusCode >= 200 && answer.statusCode < 300) return answer;
    throw await errorOf(answer, scope);
  }

  async #send(
    question: Question,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    try {
      return await request(new URL(question.path, this.#options.url), {
        method: question.method,
        dispatcher: this.#dispatcher,
        headers: { ...question.headers, ...(authorization === undefined ? {} : { authorization }) },
        body: question.body ?? null,
        headersTimeout: this.#options.headerTimeoutMs,
        bodyTimeout: this.#options.idleTimeoutMs,
        signal,
      });
    } catch (cause) {
      signal.throwIfAborted();
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new DownloadError('unreachable', `the proxy at ${this.url} cannot be reached: ${reason}`, {
        cause,
      });
    }
  }
}

function deltaRequest(question: DeltaQuestion, host: string, resume: Resume | undefined): Question {
  const headers: Record<string, string> = { accept: MEDIA_TYPE.starlightBundle };
  if (resume !== undefined) {
    headers['range'] = `bytes=${resume.offset}-`;
    headers['if-range'] = resume.etag;
  }
  const query = new URLSearchParams({ to: question.to, platform: question.platform });
  for (const from of question.from) query.append('from', from);
  if (host !== '') query.set('ns', host);
  const text = query.toString();
  if (text.length <= MAX_QUERY_LENGTH) return { method: 'GET', path: `/starlight/delta?${text}`, headers };
  const body = JSON.stringify({
    to: [question.to],
    from: question.from,
    platform: question.platform,
    ...(host === '' ? {} : { ns: host }),
  });
  return {
    method: 'POST',
    path: '/starlight/delta',
    headers: { ...headers, 'content-type': 'application/json' },
    body,
  };
}

function asDownloadError(error: unknown): never {
  if (error instanceof RegistryAuthError)
    throw new DownloadError(error.kind, error.message, { cause: error });
  throw error;
}

function nsQuery(host: string): string {
  return host === '' ? '' : `?ns=${encodeURIComponent(host)}`;
}

function header(headers: Dispatcher.ResponseData['headers'], name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

async function errorOf(answer: Dispatcher.ResponseData, scope: AuthScope): Promise<DownloadError> {
  const text = await readStart(answer.body, MAX_ANSWER_BYTES).catch(() => '');
  const { code, message } = firstError(text);
  const what = message ?? `status ${answer.statusCode}`;
  const kind = kindOfAnswer(answer.statusCode, code);
  const where = `${scope.host === '' ? '' : `${scope.host}/`}${scope.repository}`;
  return new DownloadError(kind, `${where}: ${what.slice(0, MAX_ERROR_TEXT)}`);
}
