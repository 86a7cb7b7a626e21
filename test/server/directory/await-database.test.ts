import assert from 'node:assert/strict';
import { DirectoryError } from '../../../extensions/starlight/directory.ts';
import { awaitDatabase, DatabaseAwayError } from '../../../server/directory/await-database.ts';
import { isAway } from '../../../server/directory/postgres.ts';

const refused = () =>
  new DirectoryError({ kind: 'unavailable' }, 'the directory database does not answer', {
    cause: Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }),
  });

describe('awaitDatabase()', () => {
  /** Tries with a clock that moves only by what is slept. */
  async function tried(open: (attempt: number) => Promise<void>, limitMs: number, signal?: AbortSignal) {
    let attempts = 0;
    let nowMs = 1000;
    const pausesMs: number[] = [];
    const told: unknown[] = [];
    const clock = {
      nowMs: () => nowMs,
      sleep: async (ms: number, until: AbortSignal) => {
        until.throwIfAborted();
        pausesMs.push(ms);
        nowMs += ms;
      },
    };
    const onWait = (error: unknown) => void told.push(error);
    const options = { limitMs, clock, random: () => 0.5, onWait };
    let failure: unknown;
    try {
      const opening = () => {
        attempts += 1;
        return open(attempts);
      };
      await awaitDatabase(opening, options, signal ?? new AbortController().signal);
    } catch (error) {
      failure = error;
    }
    return { attempts, pausesMs, told, failure, tookMs: nowMs - 1000 };
  }

  it('tells of no wait where there is none', async () => {
    const { attempts, told, failure } = await tried(() => Promise.resolve(), 60_000);
    assert.deepEqual([attempts, told, failure], [1, [], undefined]);
  });

  it('tries again until it is there, ever more slowly, and tells once that it waits', async () => {
    const open = (attempt: number) => (attempt < 9 ? Promise.reject(refused()) : Promise.resolve());
    const { pausesMs, told, failure } = await tried(open, 60_000);
    assert.equal(failure, undefined);
    assert.deepEqual(pausesMs, [187.5, 375, 750, 1500, 3000, 3750, 3750, 3750]);
    assert.equal(told.length, 1);
  });

  it('tries for the last time when the time is over, and says what to do', async () => {
    const { pausesMs, tookMs, failure } = await tried(() => Promise.reject(refused()), 1000);
    assert.equal(tookMs, 1000);
    assert.deepEqual(pausesMs, [187.5, 375, 437.5]);
    assert.ok(failure instanceof DatabaseAwayError);
    assert.match(
      failure.message,
      /^waited 1 s .* start it, correct database\.url, or raise database\.waitLimitMs$/,
    );
    assert.ok(failure.cause instanceof DirectoryError);
  });

  it('fails at once where it is not to wait', async () => {
    const { attempts, told, failure } = await tried(() => Promise.reject(refused()), 0);
    assert.deepEqual([attempts, told], [1, []]);
    assert.ok(failure instanceof DirectoryError);
  });

  it('fails at once with what waiting does not mend, also when it has waited', async () => {
    const denied = Object.assign(new Error('password authentication failed'), { code: '28P01' });
    const { attempts, failure } = await tried(
      (attempt) => Promise.reject(attempt === 1 ? refused() : denied),
      60_000,
    );
    assert.equal(attempts, 2);
    assert.equal(failure, denied);
  });

  it('leaves an attempt that does not end when it is told to stop', async () => {
    const abort = new AbortController();
    const begun = Promise.withResolvers<void>();
    const ended = tried(
      () => {
        begun.resolve();
        return new Promise(() => undefined);
      },
      60_000,
      abort.signal,
    );
    await begun.promise;
    const reason = new Error('the proxy is ending');
    abort.abort(reason);
    assert.equal((await ended).failure, reason);
  });

  it('leaves its pause when it is told to stop', async () => {
    const abort = new AbortController();
    const reason = new Error('the proxy is ending');
    const open = () => {
      queueMicrotask(() => abort.abort(reason));
      return Promise.reject(refused());
    };
    const { attempts, failure } = await tried(open, 60_000, abort.signal);
    assert.deepEqual([attempts, failure], [1, reason]);
  });
});

describe('isAway()', () => {
  const of = (code: string, more: object = {}) => Object.assign(new Error('m'), { code, ...more });
  const AWAY: readonly (readonly [what: string, error: unknown])[] = [
    ['a port that nobody listens on', of('ECONNREFUSED', { syscall: 'connect' })],
    ['a connection that is cut', of('ECONNRESET')],
    ['a host that does not answer', of('ETIMEDOUT')],
    ['a network that is not up', of('ENETUNREACH')],
    ['a name server that is away', of('EAI_AGAIN', { syscall: 'getaddrinfo' })],
    ['a name that is not known', of('ENOTFOUND', { syscall: 'getaddrinfo' })],
    ['a socket that is not there', of('ENOENT', { syscall: 'connect' })],
    ['several addresses', Object.assign(new AggregateError([of('ECONNREFUSED')]), { code: 'ECONNREFUSED' })],
    ['a server that starts up', of('57P03')],
    ['a server that is shut down', of('57P01')],
    ['a server without a free connection', of('53300')],
    ['a broken connection', of('08006')],
    ['a lock that another has for long', of('57014')],
    ['silence', new Error('Connection terminated due to connection timeout')],
    ['an end in the middle', new Error('Connection terminated unexpectedly')],
    ['what is wrapped', refused()],
  ];
  for (const [what, error] of AWAY) it(`waits for ${what}`, () => assert.equal(isAway(error), true));

  const WRONG: readonly (readonly [what: string, error: unknown])[] = [
    ['a wrong password', of('28P01')],
    ['an unknown user', of('28000')],
    ['an unknown database', of('3D000')],
    ['a database that was dropped', of('57P04')],
    ['a lack of rights', of('42501')],
    ['a full disk', of('53100')],
    ['a file of the URL that is not there', of('ENOENT', { syscall: 'open' })],
    ['a socket that may not be opened', of('EACCES', { syscall: 'connect' })],
    ['a certificate of somebody else', of('ERR_TLS_CERT_ALTNAME_INVALID')],
    ['a server without TLS', new Error('The server does not support SSL connections')],
    ['a database that is newer', new Error('the directory database has version 9, this program knows 4')],
    ['a directory that another process has', new DirectoryError({ kind: 'unavailable' }, 'in use')],
    ['what is no error', 'ECONNREFUSED'],
  ];
  for (const [what, error] of WRONG)
    it(`does not wait for ${what}`, () => assert.equal(isAway(error), false));
});
