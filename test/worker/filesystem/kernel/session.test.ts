import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomly } from '../../../support/randomly.ts';
import { SampleContents, sampleBytes } from '../../../../conformance/filesystem/sample-content.ts';
import {
  directory,
  file,
  type SampleEntry,
  sampleTree,
} from '../../../../conformance/filesystem/sample-tree.ts';
import { KIND } from '../../../../schemas/toc/kind.ts';
import type { Tree } from '../../../../schemas/toc/tree.ts';
import { OPCODE } from '../../../../worker/filesystem/kernel/protocol.ts';
import { Session } from '../../../../worker/filesystem/kernel/session.ts';
import { OpenTrace } from '../../../../worker/filesystem/open-trace.ts';

const HERE = sampleBytes(5_000, 1);
const LATE = sampleBytes(6_000, 2);
const O_LARGEFILE = 0x8000;
const RESENT = 1n << 63n;

const ENTRIES: readonly SampleEntry[] = [
  directory('d', { uid: 70_000, mtimeSec: 5 }),
  ...Array.from({ length: 50 }, (_, index) => file(`d/${'n'.repeat(1 + index * 5)}`, HERE)),
  file('here', HERE, { mode: 0o4755, uid: 0xfffffffe, mtimeSec: 7_000_000_000, mtimeNsec: 999_999_999 }),
  file('late', LATE),
  { kind: KIND.symlink, path: 'link', link: 'here' },
];

/** A session without a kernel: requests in, replies recorded. */
class Harness {
  readonly tree: Tree;
  readonly directory = mkdtempSync(join(tmpdir(), 'starlight-session-'));
  readonly contents = new SampleContents(this.directory);
  readonly replies: { readonly unique: bigint; readonly error: number; readonly body: Buffer }[] = [];
  readonly wants: bigint[] = [];
  readonly left: bigint[] = [];
  readonly opened: number[] = [];
  readonly faults: unknown[] = [];
  readonly killed = new Set<number>();
  readonly session: Session;

  constructor(entries: readonly SampleEntry[] = ENTRIES) {
    this.tree = sampleTree(entries);
    this.contents.put(HERE);
    const contents = {
      tree: this.tree,
      directory: this.directory,
      trace: new OpenTrace(this.tree.inodeCount),
    };
    this.session = new Session(contents, {
      write: (bytes, length) => {
        const copy = Buffer.from(bytes.subarray(0, length));
        assert.equal(copy.readUInt32LE(0), length, 'the length in the header');
        this.replies.push({
          unique: copy.readBigUInt64LE(8),
          error: copy.readInt32LE(4),
          body: copy.subarray(16),
        });
      },
      want: (unique) => this.wants.push(unique),
      leave: (unique) => this.left.push(unique),
      opened: (inode) => this.opened.push(inode),
      ready: () => {},
      fault: (error) => this.faults.push(error),
      isKilled: (threadId) => this.killed.has(threadId),
    });
  }

  send(opcode: number, inode: number, body: Uint8Array = Buffer.alloc(0), unique = 5n, threadId = 77): void {
    const request = Buffer.alloc(4096);
    request.writeUInt32LE(40 + body.length, 0);
    request.writeUInt32LE(opcode, 4);
    request.writeBigUInt64LE(unique, 8);
    request.writeBigUInt64LE(BigInt.asUintN(64, BigInt(inode) + 1n), 16);
    request.writeUInt32LE(threadId, 32);
    request.set(body, 40);
    this.session.handle(request, 40 + body.length);
  }

  /** The only reply so far to what was sent. */
  ask(opcode: number, inode: number, body?: Uint8Array): { error: number; body: Buffer } {
    this.replies.length = 0;
    this.send(opcode, inode, body);
    assert.equal(this.replies.length, 1);
    const [reply] = this.replies;
    assert.equal(reply?.unique, 5n);
    return reply ?? { error: 0, body: Buffer.alloc(0) };
  }

  inode(path: string): number {
    return this.tree.resolve(path);
  }
}

const name = (text: string) => Buffer.from(`${text}\0`);

function readIn(offset: number, size: number): Buffer {
  const body = Buffer.alloc(40);
  body.writeBigUInt64LE(BigInt(offset), 8);
  body.writeUInt32LE(size, 16);
  return body;
}

function openIn(flags: number): Buffer {
  const body = Buffer.alloc(8);
  body.writeUInt32LE(flags, 0);
  return body;
}

/** Requests that have no good answer: opcode, inode, body, errno. */
const REFUSED: readonly (readonly [
  what: string,
  opcode: number,
  path: string,
  body: Uint8Array,
  errno: number,
])[] = [
  ['LOOKUP in a file', OPCODE.lookup, 'here', name('x'), 20],
  ['READLINK of a file', OPCODE.readlink, 'here', Buffer.alloc(0), 22],
  ['READDIR of a file', OPCODE.readdir, 'here', readIn(0, 4096), 20],
  ['READDIRPLUS of a file', OPCODE.readdirplus, 'here', readIn(0, 4096), 20],
  ['GETXATTR where there are none', OPCODE.getxattr, 'here', Buffer.concat([openIn(0), name('user.x')]), 38],
  ['OPENDIR', OPCODE.opendir, 'd', openIn(0), 38],
  ['FLUSH', OPCODE.flush, 'here', Buffer.alloc(24), 38],
  ['IOCTL', 39, 'here', Buffer.alloc(32), 38],
  ['an opcode that nobody knows', 4_000_000, 'here', Buffer.alloc(0), 38],
  ['WRITE', OPCODE.write, 'here', Buffer.alloc(40), 30],
  ['CREATE', OPCODE.create, 'd', Buffer.alloc(24), 30],
  ['UNLINK', OPCODE.unlink, 'd', name('n'), 30],
  ['RENAME2', OPCODE.rename2, 'd', Buffer.alloc(24), 30],
  ['SETXATTR', OPCODE.setxattr, 'here', Buffer.alloc(16), 30],
  ['SETATTR', OPCODE.setattr, 'here', Buffer.alloc(88), 30],
];

describe('Session', () => {
  let harness: Harness;
  beforeEach(() => {
    harness = new Harness();
  });
  afterEach(() => {
    harness.session.close();
    rmSync(harness.directory, { recursive: true });
  });

  for (const [what, opcode, path, body, errno] of REFUSED) {
    it(`refuses ${what} with errno ${errno}`, () => {
      const reply = harness.ask(opcode, harness.inode(path), body);
      assert.deepEqual([reply.error, reply.body.length], [-errno, 0]);
      assert.deepEqual(harness.faults, []);
    });
  }

  for (const inode of [-1, 1_000_000, 0xfffffffe]) {
    it(`refuses node id ${inode + 1}`, () => assert.equal(harness.ask(OPCODE.getattr, inode).error, -2));
  }

  it('answers LOOKUP with all attributes in their places', () => {
    const { error, body } = harness.ask(OPCODE.lookup, 0, name('here'));
    const inode = harness.inode('here');
    assert.deepEqual([error, body.length], [0, 128]);
    assert.equal(body.readBigUInt64LE(0), BigInt(inode + 1));
    assert.equal(body.readBigUInt64LE(40), BigInt(inode + 1), 'ino');
    assert.equal(body.readBigUInt64LE(48), 5_000n, 'size');
    assert.equal(body.readBigUInt64LE(56), 10n, 'blocks');
    for (const at of [64, 72, 80]) assert.equal(body.readBigInt64LE(at), 7_000_000_000n, 'times');
    for (const at of [88, 92, 96]) assert.equal(body.readUInt32LE(at), 999_999_999, 'nanoseconds');
    assert.equal(body.readUInt32LE(100), 0o104755, 'mode');
    assert.deepEqual([body.readUInt32LE(104), body.readUInt32LE(108)], [1, 0xfffffffe]);
    assert.ok(body.readUInt32LE(16) > 1_000_000 && body.readUInt32LE(24) > 1_000_000, 'valid for long');
  });

  it('shows a time before 1970 as a negative one', () => {
    harness.tree.mtimeSec[harness.inode('here')] = -3_000_000_001;
    const { body } = harness.ask(OPCODE.getattr, harness.inode('here'));
    assert.equal(body.length, 104);
    assert.equal(body.readBigInt64LE(16 + 32), -3_000_000_001n);
  });

  it('answers a missing name with a negative entry that may be kept, nothing of a former reply in it', () => {
    harness.ask(OPCODE.lookup, 0, name('here'));
    const { error, body } = harness.ask(OPCODE.lookup, 0, name('absent'));
    assert.deepEqual([error, body.length, body.readBigUInt64LE(0)], [0, 128, 0n]);
    assert.ok(body.readUInt32LE(16) > 1_000_000);
    assert.ok(body.subarray(40).every((byte) => byte === 0));
  });

  it('looks up "." and ".."', () => {
    const inode = harness.inode('d');
    assert.equal(harness.ask(OPCODE.lookup, inode, name('.')).body.readBigUInt64LE(0), BigInt(inode + 1));
    assert.equal(harness.ask(OPCODE.lookup, inode, name('..')).body.readBigUInt64LE(0), 1n);
  });

  for (const [plus, sizes] of [
    [false, [280, 281, 287, 288, 1_000, 65_536]],
    [true, [408, 409, 415, 416, 1_000, 65_536]],
  ] as const) {
    for (const size of sizes) {
      it(`lists by ${plus ? 'READDIRPLUS' : 'READDIR'} with room for ${size} bytes: each entry once`, () => {
        const inode = harness.inode('d');
        const seen: string[] = [];
        let next = 0;
        for (let rounds = 0; rounds < 100; rounds++) {
          const { body } = harness.ask(plus ? OPCODE.readdirplus : OPCODE.readdir, inode, readIn(next, size));
          assert.ok(body.length <= size);
          if (body.length === 0) break;
          for (let at = 0; at < body.length; ) {
            const head = at + (plus ? 128 : 0);
            const length = body.readUInt32LE(head + 16);
            const entryName = body.subarray(head + 24, head + 24 + length).toString();
            if (plus) {
              const expected =
                seen.length < 2 ? 0n : BigInt(harness.tree.lookup(inode, Buffer.from(entryName)) + 1);
              assert.equal(body.readBigUInt64LE(at), expected);
            }
            seen.push(entryName);
            next = Number(body.readBigUInt64LE(head + 8));
            const end = (head + 24 + length + 7) & ~7;
            assert.ok(
              body.subarray(head + 24 + length, end).every((byte) => byte === 0),
              'padding',
            );
            at = end;
          }
        }
        const expected = Array.from({ length: 50 }, (_, index) => 'n'.repeat(1 + index * 5));
        assert.deepEqual(seen, ['.', '..', ...expected]);
      });
    }
  }

  it('lists nothing beyond the end', () => {
    assert.equal(harness.ask(OPCODE.readdir, harness.inode('d'), readIn(1_000, 4096)).body.length, 0);
  });

  for (const [offset, size] of [
    [0, 5_000],
    [4_999, 4096],
    [1, 7],
    [5_000, 10],
    [2 ** 40, 10],
    [0, 0xffffffff],
  ] as const) {
    it(`reads ${size} bytes at ${offset}`, () => {
      const { error, body } = harness.ask(OPCODE.read, harness.inode('here'), readIn(offset, size));
      assert.equal(error, 0);
      assert.ok(body.equals(HERE.subarray(offset, offset + size)));
    });
  }

  it('keeps an OPEN until its content is there, under the unique that asked, bit 63 kept', () => {
    const unique = RESENT | 42n;
    harness.send(OPCODE.open, harness.inode('late'), openIn(O_LARGEFILE), unique);
    assert.deepEqual([harness.replies, harness.wants], [[], [unique]]);
    harness.contents.put(LATE);
    harness.session.answer(unique, true);
    assert.equal(harness.replies[0]?.unique, unique);
    assert.equal(harness.replies[0]?.error, 0);
    assert.equal(harness.replies[0]?.body.readBigUInt64LE(0), BigInt(harness.inode('late') + 1));
    harness.session.answer(unique, true);
    assert.equal(harness.replies.length, 1, 'answered once');
  });

  it('answers EIO when the content is said to be there and is not', () => {
    harness.send(OPCODE.open, harness.inode('late'), openIn(O_LARGEFILE), 9n);
    harness.session.answer(9n, true);
    assert.equal(harness.replies[0]?.error, -5);
  });

  it('keeps a READ, too, with its offset', () => {
    harness.send(OPCODE.read, harness.inode('late'), readIn(100, 50), 9n);
    harness.contents.put(LATE);
    harness.session.answer(9n, true);
    assert.ok(harness.replies[0]?.body.equals(LATE.subarray(100, 150)));
  });

  it("answers the kernel's own OPEN at once, without a content and without a trace", () => {
    const { error, body } = harness.ask(OPCODE.open, harness.inode('late'), openIn(0));
    assert.deepEqual([error, body.readBigUInt64LE(0)], [0, 0n]);
    assert.deepEqual([harness.wants, harness.opened], [[], []]);
  });

  it('interrupts a blocked request only when its thread is being killed, once', () => {
    const interrupt = Buffer.alloc(8);
    interrupt.writeBigUInt64LE(9n, 0);
    harness.send(OPCODE.open, harness.inode('late'), openIn(O_LARGEFILE), 9n, 1234);
    harness.send(OPCODE.interrupt, 0, interrupt, 10n);
    assert.deepEqual([harness.replies, harness.session.hasInterrupted], [[], true]);
    harness.session.reap();
    assert.deepEqual(harness.replies, []);
    harness.killed.add(1234);
    harness.session.reap();
    harness.session.reap();
    assert.deepEqual(
      harness.replies.map(({ unique, error }) => [unique, error]),
      [[9n, -4]],
    );
    assert.deepEqual([harness.left, harness.session.hasInterrupted], [[9n], false]);
  });

  it('gives no reply to an INTERRUPT of what is answered already, nor to FORGET', () => {
    harness.send(OPCODE.interrupt, 0, Buffer.alloc(8));
    harness.send(OPCODE.forget, 0, Buffer.alloc(8));
    harness.send(OPCODE.batchForget, -1, Buffer.alloc(8));
    assert.deepEqual(harness.replies, []);
  });

  it('answers EIO and tells the fault when a content file is damaged', () => {
    writeFileSync(harness.contents.pathOf(harness.contents.put(LATE)), 'short');
    const { error } = harness.ask(OPCODE.open, harness.inode('late'), openIn(O_LARGEFILE));
    assert.deepEqual([error, harness.faults.length], [-5, 1]);
  });

  it('answers xattrs in two steps', () => {
    const value = Buffer.from('value');
    const again = new Harness([
      ...ENTRIES,
      file('x', HERE, { xattrs: { 'user.a': value, 'user.b': HERE.subarray(0, 9) } }),
    ]);
    const ask = (opcode: number, path: string, size: number, key = '') => {
      const body = Buffer.concat([openIn(size), Buffer.from(key === '' ? '' : `${key}\0`)]);
      return again.ask(opcode, again.inode(path), body);
    };
    assert.equal(ask(OPCODE.getxattr, 'x', 0, 'user.a').body.readUInt32LE(0), 5);
    assert.deepEqual(ask(OPCODE.getxattr, 'x', 5, 'user.a').body, value);
    assert.equal(ask(OPCODE.getxattr, 'x', 4, 'user.a').error, -34);
    assert.equal(ask(OPCODE.getxattr, 'x', 100, 'user.c').error, -61);
    assert.equal(ask(OPCODE.getxattr, 'here', 100, 'user.a').error, -61);
    assert.equal(ask(OPCODE.listxattr, 'x', 100).body.toString(), 'user.a\0user.b\0');
    assert.equal(ask(OPCODE.listxattr, 'x', 13).error, -34);
    assert.equal(ask(OPCODE.listxattr, 'here', 0).body.readUInt32LE(0), 0);
    again.session.close();
    rmSync(again.directory, { recursive: true });
  });

  it('answers any request at most once and never throws, whatever its bytes are', () => {
    const { below: random } = randomly(20_261_121);
    for (let round = 0; round < 20_000; round++) {
      harness.replies.length = 0;
      const body = Buffer.alloc(random(64));
      for (let index = 0; index < body.length; index++) body[index] = random(8) === 0 ? random(256) : 0;
      harness.send(random(60), random(70) - 2, body, BigInt(round));
      assert.ok(harness.replies.length <= 1);
      for (const { error, body: answer } of harness.replies) {
        assert.ok(error <= 0 && error > -200);
        assert.ok(error === 0 || answer.length === 0);
      }
    }
    assert.deepEqual(harness.faults, []);
  });
});
