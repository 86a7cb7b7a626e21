import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Front } from './front.ts';
import { MANIFEST_TYPE, pattern, sha256 } from './origin.ts';

const MIB = 1 << 20;
const turn = () => new Promise((resolve) => setImmediate(resolve));
const A = { Authorization: 'Basic YTph' };
const B = { Authorization: 'Basic Yjpi' };

describe('MirrorRegistry, blobs', function () {
  this.timeout(60_000);

  it('fetches a blob once for many at the same time, and then not at all', async () => {
    await using front = await Front.start();
    const bytes = pattern(3 * MIB + 5);
    const digest = front.origin.addBlob('a', bytes);
    const gate = Promise.withResolvers<void>();
    front.origin.gate = gate.promise;
    const pulls = Array.from({ length: 20 }, () => front.get(`a/blobs/${digest}`));
    const responses = await Promise.all(pulls); // all have their header while the origin has sent half
    gate.resolve();
    for (const response of responses) {
      assert.equal(response.headers.get('docker-content-digest'), digest);
      assert.ok(Buffer.from(await response.arrayBuffer()).equals(bytes));
    }
    assert.ok((await front.bytes(`a/blobs/${digest}`)).equals(bytes));
    assert.deepEqual(
      front.origin.asked.map((one) => one.method),
      ['GET'],
    );
    assert.equal(front.mirrors.counters.contentBytes, bytes.length);
  });

  it('gives bytes on before the origin has sent all', async () => {
    await using front = await Front.start();
    const bytes = pattern(4 * MIB);
    const digest = front.origin.addBlob('a', bytes);
    const gate = Promise.withResolvers<void>();
    front.origin.gate = gate.promise;
    const reader = (await front.get(`a/blobs/${digest}`)).body?.getReader();
    let seen = 0;
    while (seen < 2 * MIB) seen += (await reader?.read())?.value?.length ?? 0;
    gate.resolve();
    for (let next = await reader?.read(); next?.done === false; next = await reader?.read()) {
      seen += next.value.length;
    }
    assert.equal(seen, bytes.length);
  });

  it('goes on with a fill when the first who asked leaves', async () => {
    await using front = await Front.start();
    const bytes = pattern(2 * MIB);
    const digest = front.origin.addBlob('a', bytes);
    const gate = Promise.withResolvers<void>();
    front.origin.gate = gate.promise;
    const leaver = new AbortController();
    const first = await fetch(`${front.url}/v2/a/blobs/${digest}`, { signal: leaver.signal });
    const second = await front.get(`a/blobs/${digest}`);
    leaver.abort();
    await first.arrayBuffer().catch(() => undefined);
    gate.resolve();
    assert.ok(Buffer.from(await second.arrayBuffer()).equals(bytes));
    assert.equal(front.origin.count(digest), 1);
  });

  it('breaks the connection of everybody who reads a blob of another digest, and keeps nothing', async () => {
    await using front = await Front.start();
    const digest = sha256('what was meant');
    front.origin.addBlob('a', pattern(2 * MIB), digest);
    const responses = await Promise.all([1, 2, 3].map(() => front.get(`a/blobs/${digest}`)));
    for (const response of responses) await assert.rejects(response.arrayBuffer());
    assert.equal(front.mirrors.counters.wrongDigests, 1);
    const right = Buffer.from('what was meant');
    front.origin.addBlob('a', right, digest);
    // The size that was told with the wrong bytes is not that of the right ones: it is told anew.
    const again = await front.get(`a/blobs/${digest}`);
    assert.ok(Buffer.from(await again.arrayBuffer()).equals(right));
  });

  it('takes up a body that breaks off where it stopped', async () => {
    await using front = await Front.start();
    const bytes = pattern(3 * MIB);
    const digest = front.origin.addBlob('a', bytes);
    let cut = false;
    front.origin.twist = (_, response) => {
      if (cut) return undefined;
      cut = true;
      response.writeHead(200, { 'Content-Length': bytes.length, 'Docker-Content-Digest': digest });
      response.write(bytes.subarray(0, MIB + 100), () => response.destroy());
      return 'taken';
    };
    assert.ok((await front.bytes(`a/blobs/${digest}`)).equals(bytes));
    assert.equal(front.origin.asked.length, 2);
    assert.match(front.origin.asked[1]?.range ?? '', /^bytes=[1-9]\d*-3145727$/);
  });

  it('gives small ranges by few requests, and no byte twice', async () => {
    await using front = await Front.start();
    const bytes = pattern(20 * MIB + 77);
    const digest = front.origin.addBlob('a', bytes);
    const starts = Array.from({ length: 400 }, (_, at) => (at * 7919 * 4099) % (bytes.length - 5000));
    for (let at = 0; at < starts.length; at += 8) {
      await Promise.all(
        starts.slice(at, at + 8).map(async (start) => {
          const end = start + 4999;
          const response = await front.get(`a/blobs/${digest}`, { Range: `bytes=${start}-${end}` });
          assert.equal(response.status, 206);
          assert.equal(response.headers.get('content-range'), `bytes ${start}-${end}/${bytes.length}`);
          assert.ok(Buffer.from(await response.arrayBuffer()).equals(bytes.subarray(start, end + 1)));
        }),
      );
    }
    assert.ok((await front.bytes(`a/blobs/${digest}`)).equals(bytes));
    assert.equal(front.origin.sentBytes.get(digest), bytes.length);
    assert.ok(front.origin.count(digest, 'GET') <= 14, `${front.origin.count(digest, 'GET')} requests`);
    assert.equal(front.origin.count(digest, 'HEAD'), 1);
  });

  it('serves ranges of what has arrived while the rest is on its way', async () => {
    await using front = await Front.start();
    const bytes = pattern(4 * MIB);
    const digest = front.origin.addBlob('a', bytes);
    const gate = Promise.withResolvers<void>();
    front.origin.gate = gate.promise;
    const whole = await front.get(`a/blobs/${digest}`);
    const part = await front.bytes(`a/blobs/${digest}`, { Range: 'bytes=100-199' });
    assert.ok(part.equals(bytes.subarray(100, 200)));
    gate.resolve();
    await whole.arrayBuffer();
    assert.equal(front.origin.count(digest), 1);
  });

  it('does not serve a complete answer from ranges of another digest', async () => {
    await using front = await Front.start();
    const digest = sha256('another');
    front.origin.addBlob('a', pattern(2 * MIB), digest);
    await front.bytes(`a/blobs/${digest}`, { Range: 'bytes=0-9' });
    await assert.rejects(front.bytes(`a/blobs/${digest}`));
    assert.equal(front.mirrors.counters.wrongDigests, 1);
  });

  const RANGES: readonly (readonly [string, number, string | undefined, number])[] = [
    ['bytes=0-0', 206, 'bytes 0-0/2048', 1],
    ['bytes=500-1499', 206, 'bytes 500-1499/2048', 1000],
    ['bytes=500-', 206, 'bytes 500-2047/2048', 1548],
    ['bytes=-500', 206, 'bytes 1548-2047/2048', 500],
    ['bytes=1000-9999', 206, 'bytes 1000-2047/2048', 1048],
    ['bytes=0-', 206, 'bytes 0-2047/2048', 2048],
    ['bytes=5000-10000', 416, 'bytes */2048', -1],
    ['bytes=9-3', 416, 'bytes */2048', -1],
    ['bytes=0-9,5-6', 200, undefined, 2048],
    ['lines=1-2', 200, undefined, 2048],
  ];
  for (const kept of [false, true]) {
    for (const [range, status, told, sizeBytes] of RANGES) {
      it(`answers ${range} of a ${kept ? 'kept' : 'new'} blob by ${status}`, async () => {
        await using front = await Front.start();
        const bytes = pattern(2048);
        const digest = front.origin.addBlob('a', bytes);
        if (kept) await front.bytes(`a/blobs/${digest}`);
        const response = await front.get(`a/blobs/${digest}`, { Range: range });
        const body = Buffer.from(await response.arrayBuffer());
        assert.equal(response.status, status);
        assert.equal(response.headers.get('content-range') ?? undefined, told);
        if (sizeBytes >= 0) assert.equal(body.length, sizeBytes);
      });
    }
  }

  for (const kept of [false, true]) {
    it(`answers several ranges of a ${kept ? 'kept' : 'new'} blob at once`, async () => {
      await using front = await Front.start();
      const bytes = pattern(3 * MIB);
      const digest = front.origin.addBlob('a', bytes);
      if (kept) await front.bytes(`a/blobs/${digest}`);
      const Range = `bytes=10-19,${2 * MIB}-${2 * MIB + 99}`;
      const response = await front.get(`a/blobs/${digest}`, { Range });
      assert.equal(response.status, 206);
      assert.match(response.headers.get('content-type') ?? '', /^multipart\/byteranges; boundary=/);
      const body = Buffer.from(await response.arrayBuffer());
      assert.equal(response.headers.get('content-length'), String(body.length));
      for (const [start, end] of [
        [10, 20],
        [2 * MIB, 2 * MIB + 100],
      ] as const) {
        const head = `Content-Range: bytes ${start}-${end - 1}/${bytes.length}\r\n\r\n`;
        const at = body.indexOf(head) + head.length;
        assert.ok(body.subarray(at, at + end - start).equals(bytes.subarray(start, end)));
      }
    });
  }

  it('answers an empty blob', async () => {
    await using front = await Front.start();
    const digest = front.origin.addBlob('a', Buffer.alloc(0));
    for (const _ of [1, 2]) assert.equal((await front.bytes(`a/blobs/${digest}`)).length, 0);
    assert.equal(front.origin.count(digest), 1);
  });

  it('answers HEAD and conditions from what it knows, and keeps no header of one answer', async () => {
    await using front = await Front.start();
    const digest = front.origin.addBlob('a', pattern(1000));
    await front.bytes(`a/blobs/${digest}`);
    const head = await front.get(`a/blobs/${digest}`, {}, 'HEAD');
    assert.equal(head.status, 200);
    assert.equal(head.headers.get('content-length'), '1000');
    assert.equal(head.headers.get('content-type'), 'application/octet-stream');
    assert.equal(head.headers.get('content-encoding'), null);
    assert.equal(head.headers.get('x-secret-of-one-answer'), null);
    const same = await front.get(`a/blobs/${digest}`, { 'If-None-Match': `"${digest}"` });
    assert.equal(same.status, 304);
    const other = await front.get(`a/blobs/${digest}`, { Range: 'bytes=0-1', 'If-Range': '"other"' });
    assert.equal(other.status, 200);
    await other.arrayBuffer();
    assert.equal(front.origin.asked.length, 1);
  });

  it('passes the origin on as it is where it says no', async () => {
    await using front = await Front.start();
    const response = await front.get(`a/blobs/${sha256('none')}`);
    assert.equal(response.status, 404);
    assert.match(await response.text(), /UNKNOWN_HERE/);
    front.origin.readers.set('a', [A.Authorization]);
    const challenged = await front.get(`a/blobs/${sha256('none')}`);
    assert.equal(challenged.status, 401);
    assert.equal(challenged.headers.get('www-authenticate'), 'Basic realm="origin"');
  });

  it('passes through what is larger than the cache', async () => {
    await using front = await Front.start({ mirror: { maxBytes: MIB } });
    const bytes = pattern(2 * MIB);
    const digest = front.origin.addBlob('a', bytes);
    for (const _ of [1, 2]) assert.ok((await front.bytes(`a/blobs/${digest}`)).equals(bytes));
    assert.equal(front.origin.count(digest, 'GET'), 2);
    assert.equal(front.mirrors.counters.passed, 2);
  });

  it('evicts what was used least recently, and keeps to its limit', async () => {
    await using front = await Front.start({ mirror: { maxBytes: 3 * MIB } });
    const digests = [1, 2, 3, 4].map((seed) => front.origin.addBlob('a', pattern(MIB, seed)));
    const get = async (at: number): Promise<void> => {
      await front.bytes(`a/blobs/${digests[at]}`);
      // It is kept, and nobody uses any.
      while (front.mirrors.usage.idleBytes < Math.min(at + 1, 3) * MIB) await turn();
    };
    for (const at of [0, 1, 2, 0, 3, 0]) await get(at);
    assert.equal(front.origin.count(digests[0] ?? ''), 1);
    await get(1);
    assert.equal(front.origin.count(digests[1] ?? '', 'GET'), 2);
    assert.equal(front.mirrors.usage.usedBytes, 3 * MIB);
    assert.equal(front.mirrors.counters.evicted, 2);
  });
});

describe('MirrorRegistry, who may', function () {
  this.timeout(60_000);

  async function withPrivate(staleMs = 600_000): Promise<{ front: Front; digest: string; manifest: string }> {
    const front = await Front.start({ mirror: { staleMs, grantMs: 600_000 } });
    front.origin.readers.set('private', [A.Authorization]);
    const digest = front.origin.addBlob('private', pattern(MIB));
    const manifest = front.origin.addManifest('private', 'v1', Buffer.from('{"secret":true}'));
    front.origin.addBlob('public', pattern(10));
    assert.equal((await front.bytes(`private/blobs/${digest}`, A)).length, MIB);
    assert.equal((await front.get(`private/manifests/v1`, A)).status, 200);
    return { front, digest, manifest };
  }

  type Attack = readonly [
    title: string,
    path: (made: { digest: string; manifest: string }) => string,
    headers: Record<string, string>,
    status: number,
  ];
  const ATTACKS: readonly Attack[] = [
    ['a blob, by nobody', ({ digest }) => `private/blobs/${digest}`, {}, 401],
    ['a blob, by another', ({ digest }) => `private/blobs/${digest}`, B, 403],
    [
      'a range of it, by another',
      ({ digest }) => `private/blobs/${digest}`,
      { ...B, Range: 'bytes=0-9' },
      403,
    ],
    [
      'a blob, by credentials that only look alike',
      ({ digest }) => `private/blobs/${digest}`,
      { Authorization: 'Basic YTphX' },
      403,
    ],
    ['a blob, by a cookie beside', ({ digest }) => `private/blobs/${digest}`, { Cookie: 'session=1' }, 401],
    ['a blob, through a public repository', ({ digest }) => `public/blobs/${digest}`, {}, 404],
    [
      'a blob, through a repository that its reader may read',
      ({ digest }) => `public/blobs/${digest}`,
      A,
      404,
    ],
    ['a blob, as a manifest', ({ digest }) => `private/manifests/${digest}`, A, 404],
    ['a manifest, by nobody', ({ manifest }) => `private/manifests/${manifest}`, {}, 401],
    ['a manifest, by another', ({ manifest }) => `private/manifests/${manifest}`, B, 403],
    ['a manifest, through a public repository', ({ manifest }) => `public/manifests/${manifest}`, {}, 404],
    ['a manifest, as a blob of its reader', ({ manifest }) => `private/blobs/${manifest}`, A, 404],
    ['a tag, by another', () => 'private/manifests/v1', B, 403],
    ['a tag, by nobody', () => 'private/manifests/v1', {}, 401],
  ];
  for (const method of ['GET', 'HEAD']) {
    for (const [title, path, headers, status] of ATTACKS) {
      it(`${method} does not get ${title}`, async () => {
        const made = await withPrivate();
        await using front = made.front;
        const response = await front.get(path(made), headers, method);
        assert.equal(response.status, status);
        assert.ok(!(await response.text()).includes('secret'));
      });

      it(`${method} does not get ${title}, while the origin is silent`, async () => {
        const made = await withPrivate();
        await using front = made.front;
        front.origin.twist = (_, response) => {
          response.destroy();
          return 'taken';
        };
        const response = await front.get(path(made), headers, method);
        assert.equal(response.status, 502);
        assert.ok(!(await response.text()).includes('secret'));
      });
    }
  }

  it('asks the origin as the caller, once per caller and thing', async () => {
    await using front = await Front.start();
    front.origin.readers.set('private', [A.Authorization, B.Authorization]);
    const bytes = pattern(MIB);
    const digest = front.origin.addBlob('private', bytes);
    for (const headers of [A, B, A, B]) {
      assert.ok((await front.bytes(`private/blobs/${digest}`, headers)).equals(bytes));
    }
    assert.deepEqual(
      front.origin.asked.map((one) => one.method),
      ['GET', 'HEAD'],
    );
  });

  it('asks again when the proof is too old, and then holds to what the origin says', async () => {
    await using front = await Front.start({ mirror: { grantMs: 1 } });
    front.origin.readers.set('private', [A.Authorization]);
    const digest = front.origin.addBlob('private', pattern(100));
    await front.bytes(`private/blobs/${digest}`, A);
    front.origin.readers.set('private', []);
    while ((await front.get(`private/blobs/${digest}`, A, 'HEAD')).status === 200);
    assert.equal((await front.get(`private/blobs/${digest}`, A)).status, 403);
  });

  it('serves only who had it lately while the origin is silent, and says so', async () => {
    const made = await withPrivate();
    await using front = made.front;
    front.origin.twist = (_, response) => {
      response.destroy();
      return 'taken';
    };
    const response = await front.get(`private/blobs/${made.digest}`, A);
    assert.equal(response.status, 200);
    assert.equal((await response.arrayBuffer()).byteLength, MIB);
  });

  it('serves nobody whose proof is too old while the origin is silent', async () => {
    await using front = await Front.start({ mirror: { grantMs: 1, staleMs: 0 } });
    const digest = front.origin.addBlob('a', pattern(100));
    // Until it is on the disk, from where it would be served.
    while (front.mirrors.counters.hits === 0) await front.bytes(`a/blobs/${digest}`);
    front.origin.twist = (_, response) => {
      response.destroy();
      return 'taken';
    };
    let response = await front.get(`a/blobs/${digest}`);
    // The proof is a millisecond old at most until it counts no more.
    while (response.status === 200 && response.headers.get('warning') === null) {
      response = await front.get(`a/blobs/${digest}`);
    }
    assert.equal(response.status, 502);
    assert.equal(front.mirrors.counters.stale, 0);
  });

  it('serves nobody whom the origin has refused since, however silent it is then', async () => {
    await using front = await Front.start({ mirror: { grantMs: 1 } });
    front.origin.readers.set('private', [A.Authorization]);
    const digest = front.origin.addBlob('private', pattern(100));
    while (front.mirrors.counters.hits === 0) await front.bytes(`private/blobs/${digest}`, A);
    front.origin.readers.set('private', []);
    while ((await front.get(`private/blobs/${digest}`, A)).status !== 403);
    front.origin.twist = (_, response) => {
      response.destroy();
      return 'taken';
    };
    assert.equal((await front.get(`private/blobs/${digest}`, A)).status, 502);
    assert.equal(front.mirrors.counters.stale, 0);
  });

  it('lets two with different rights share a fill, each by its own proof', async () => {
    await using front = await Front.start();
    front.origin.readers.set('private', [A.Authorization, B.Authorization]);
    const bytes = pattern(2 * MIB);
    const digest = front.origin.addBlob('private', bytes);
    const gate = Promise.withResolvers<void>();
    front.origin.gate = gate.promise;
    const [a, b, nobody] = await Promise.all([
      front.get(`private/blobs/${digest}`, A),
      front.get(`private/blobs/${digest}`, B),
      front.get(`private/blobs/${digest}`),
    ]);
    gate.resolve();
    assert.ok(Buffer.from(await a.arrayBuffer()).equals(bytes));
    assert.ok(Buffer.from(await b.arrayBuffer()).equals(bytes));
    assert.equal(nobody.status, 401);
    assert.equal(front.origin.sentBytes.get(digest), bytes.length);
  });
});

describe('MirrorRegistry, manifests and tags', function () {
  this.timeout(60_000);

  const manifest = Buffer.from('{"schemaVersion":2}');
  const next = Buffer.from('{"schemaVersion":2,"next":true}');

  it('fetches a manifest once for many, by tag and by digest', async () => {
    await using front = await Front.start();
    const digest = front.origin.addManifest('a', 'v1', manifest);
    const responses = await Promise.all(Array.from({ length: 20 }, () => front.get('a/manifests/v1')));
    for (const response of responses) {
      assert.equal(response.headers.get('content-type'), MANIFEST_TYPE);
      assert.equal(response.headers.get('docker-content-digest'), digest);
      assert.ok(Buffer.from(await response.arrayBuffer()).equals(manifest));
    }
    assert.ok((await front.bytes(`a/manifests/${digest}`)).equals(manifest));
    assert.equal((await front.get(`a/manifests/v1`, {}, 'HEAD')).headers.get('content-length'), '19');
    assert.equal(front.origin.asked.length, 1);
  });

  it('asks once by HEAD for many, and then once for the manifest', async () => {
    await using front = await Front.start();
    const digest = front.origin.addManifest('a', 'v1', manifest);
    const heads = await Promise.all(
      Array.from({ length: 20 }, () => front.get('a/manifests/v1', { Accept: MANIFEST_TYPE }, 'HEAD')),
    );
    assert.ok(heads.every((one) => one.headers.get('docker-content-digest') === digest));
    const gets = await Promise.all(Array.from({ length: 20 }, () => front.bytes(`a/manifests/${digest}`)));
    assert.ok(gets.every((one) => one.equals(manifest)));
    assert.deepEqual(
      front.origin.asked.map((one) => one.method),
      ['HEAD', 'GET'],
    );
  });

  it('asks about a tag again for another choice of representations', async () => {
    await using front = await Front.start();
    front.origin.addManifest('a', 'v1', manifest);
    for (const Accept of ['*/*', MANIFEST_TYPE, '*/*']) await front.bytes('a/manifests/v1', { Accept });
    assert.equal(front.origin.asked.length, 2);
  });

  it('revalidates a tag by HEAD alone, and follows it', async () => {
    await using front = await Front.start({ mirror: { tagMs: 1 } });
    front.origin.addManifest('a', 'v1', manifest);
    await front.bytes('a/manifests/v1');
    while (front.origin.count('v1', 'HEAD') === 0) {
      assert.ok((await front.bytes('a/manifests/v1')).equals(manifest));
    }
    assert.equal(front.origin.count('', 'GET'), 1);
    front.origin.addManifest('a', 'v1', next);
    while (!(await front.bytes('a/manifests/v1')).equals(next));
    assert.equal(front.origin.count('', 'GET'), 2);
  });

  it('refuses a manifest of another digest', async () => {
    await using front = await Front.start();
    const digest = front.origin.addManifest('a', 'v1', manifest, sha256(next));
    for (const reference of ['v1', digest]) {
      assert.equal((await front.get(`a/manifests/${reference}`)).status, 502);
    }
  });

  const STALE: readonly (readonly [string, number | 'silent', boolean])[] = [
    ['429', 429, true],
    ['500', 500, true],
    ['502', 502, true],
    ['503', 503, true],
    ['504', 504, true],
    ['silence', 'silent', true],
    ['404', 404, false],
    ['401', 401, false],
    ['403', 403, false],
    ['410', 410, false],
  ];
  for (const method of ['GET', 'HEAD']) {
    for (const [title, status, served] of STALE) {
      it(`${served ? 'serves' : 'does not serve'} a tag as last known by ${method} after ${title}`, async () => {
        await using front = await Front.start({ mirror: { tagMs: 1 } });
        const digest = front.origin.addManifest('a', 'v1', manifest);
        await front.bytes('a/manifests/v1');
        front.origin.twist = (_, response) => {
          if (status === 'silent') response.destroy();
          else response.writeHead(status, { 'Content-Length': '0' }).end();
          return 'taken';
        };
        let response = await front.get('a/manifests/v1', {}, method);
        // The proof is a millisecond old at most until it counts.
        while (response.status === 200 && response.headers.get('warning') === null) {
          response = await front.get('a/manifests/v1', {}, method);
        }
        assert.equal(response.status, served ? 200 : status);
        if (!served) return;
        assert.match(response.headers.get('warning') ?? '', /^110 .*, 111 /);
        assert.equal(response.headers.get('docker-content-digest'), digest);
        if (method === 'GET') assert.ok(Buffer.from(await response.arrayBuffer()).equals(manifest));
        assert.equal(front.mirrors.counters.stale, 1);
        assert.match(front.log.join('\n'), /served as last known/);
      });
    }
  }

  it('does not believe what it was told before a push that has been made meanwhile', async () => {
    await using front = await Front.start();
    const digest = front.origin.addManifest('a', 'v1', manifest);
    const held = Promise.withResolvers<() => void>();
    front.origin.twist = (request, response) => {
      if (request.method !== 'GET') return undefined;
      front.origin.twist = () => undefined;
      held.resolve(() => {
        response.writeHead(200, { 'Content-Length': manifest.length, 'Docker-Content-Digest': digest });
        response.end(manifest);
      });
      return 'taken';
    };
    const early = front.bytes('a/manifests/v1');
    const release = await held.promise;
    front.origin.addManifest('a', 'v1', next);
    assert.equal((await fetch(`${front.url}/v2/a/manifests/v1`, { method: 'PUT', body: next })).status, 201);
    release();
    assert.ok((await early).equals(manifest));
    assert.ok((await front.bytes('a/manifests/v1')).equals(next));
  });

  it('forgets a tag that was pushed through it', async () => {
    await using front = await Front.start();
    front.origin.addManifest('a', 'v1', manifest);
    await front.bytes('a/manifests/v1');
    front.origin.addManifest('a', 'v1', next);
    assert.ok((await front.bytes('a/manifests/v1')).equals(manifest));
    assert.equal((await fetch(`${front.url}/v2/a/manifests/v1`, { method: 'PUT', body: next })).status, 201);
    assert.ok((await front.bytes('a/manifests/v1')).equals(next));
  });

  it('forgets the tag that lists referrers when a manifest with a subject was pushed through it', async () => {
    await using front = await Front.start();
    const subject = sha256('subject');
    const list = subject.replace(':', '-');
    front.origin.addManifest('a', list, manifest);
    assert.ok((await front.bytes(`a/manifests/${list}`)).equals(manifest));
    front.origin.addManifest('a', list, next);
    front.origin.twist = (request, response) => {
      if (request.method !== 'PUT') return undefined;
      request.resume();
      response.writeHead(201, { 'OCI-Subject': subject, 'Content-Length': '0' }).end();
      return 'taken';
    };
    assert.equal((await fetch(`${front.url}/v2/a/manifests/v1`, { method: 'PUT', body: next })).status, 201);
    assert.ok((await front.bytes(`a/manifests/${list}`)).equals(next));
  });

  const DELETED: readonly (readonly [
    string,
    (made: { blob: string; manifest: string }) => string,
    string,
  ])[] = [
    ['a tag', () => 'manifests/v1', 'manifests/v1'],
    ['a manifest', ({ manifest: digest }) => `manifests/${digest}`, ''],
    ['the tag of a manifest', ({ manifest: digest }) => `manifests/${digest}`, 'manifests/v1'],
    ['a blob', ({ blob }) => `blobs/${blob}`, ''],
  ];
  for (const [title, deleted, asked] of DELETED) {
    it(`forgets ${title} that was deleted through it`, async () => {
      await using front = await Front.start();
      const made = {
        blob: front.origin.addBlob('a', pattern(100)),
        manifest: front.origin.addManifest('a', 'v1', manifest),
      };
      const path = `a/${asked === '' ? deleted(made) : asked}`;
      await front.bytes(path);
      assert.equal((await front.get(`a/${deleted(made)}`, {}, 'DELETE')).status, 202);
      front.origin.remove('a', 'v1');
      assert.equal((await front.get(path)).status, 404);
    });
  }
});
