import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { Mirrors } from '../../../server/mirror/mirrors.ts';
import type { Registry } from '../../../server/registry/registry.ts';
import { repositoryName } from '../../../server/registry/repository-name.ts';
import { ownRequest } from '../../../server/registry/request-for.ts';
import { pattern, sha256 } from './origin.ts';

const SIGNAL = new AbortController().signal;
const HOUR_MS = 3_600_000;
const URL_OF_BOTH = 'http://origin.test';
const NAME = repositoryName('a') ?? assert.fail();

/** Says that it has `meant`, and sends `sent` for it. */
function claiming(meant: Buffer, sent: Buffer): Registry & { asked: number } {
  const registry = {
    asked: 0,
    answer: async ({ method }: { method: string }) => {
      registry.asked += 1;
      const headers = [
        ['Content-Length', String(meant.length)],
        ['Docker-Content-Digest', sha256(meant)],
      ] as const;
      return { status: 200, headers, ...(method === 'HEAD' ? {} : { body: Readable.from([sent]) }) };
    },
  };
  return registry;
}

describe('Mirrors', function () {
  this.timeout(60_000);
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'starlight-mirrors-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const open = () =>
    Mirrors.open(
      {
        ...{ dir, maxBytes: 1 << 24, grantMs: HOUR_MS, tagMs: HOUR_MS, staleMs: HOUR_MS },
        ...{ circuitFailures: 5, circuitOpenMs: HOUR_MS },
      },
      { warn: () => undefined },
    );

  async function read(registry: Registry, digest: string): Promise<Buffer> {
    const endpoint = { kind: 'blob', name: NAME, digest } as const;
    const { body } = await registry.answer(ownRequest({ endpoint, method: 'GET' }, SIGNAL));
    if (body instanceof Uint8Array || body === undefined) return Buffer.from(body ?? '');
    return Buffer.concat(await Array.fromAsync(body as AsyncIterable<Uint8Array>));
  }

  it('give nothing that one upstream has shown to who asks another at the same address, also after a restart', async () => {
    const secret = pattern(100_000);
    const digest = sha256(secret);
    const honest = claiming(secret, secret);
    const liar = claiming(secret, Buffer.alloc(secret.length, 1));
    for (const restarted of [false, true]) {
      const mirrors = await open();
      try {
        const one = (await mirrors.before('one', URL_OF_BOTH, honest)).kept;
        const two = (await mirrors.before('two', URL_OF_BOTH, liar)).kept;
        assert.ok((await read(one, digest)).equals(secret));
        const got = await read(two, digest).catch(() => Buffer.alloc(0));
        assert.ok(!got.includes(secret.subarray(0, 16)), restarted ? 'after a restart' : 'at once');
      } finally {
        await mirrors.close();
      }
    }
    // Kept it was: the second time the honest one was only asked whether it may be given.
    assert.equal(honest.asked, 2);
    assert.ok(liar.asked >= 2);
  });
});
