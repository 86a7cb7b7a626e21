import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import {
  device,
  directory,
  fifo,
  file,
  hardlink,
  opaque,
  symlink,
  type TarEntry,
  tarBytes,
  whiteout,
} from './tar.ts';

/** What GNU tar, an independent reader, says of the one entry of an archive. */
function listed(entry: TarEntry): string {
  const args = ['-tvf', '-', '--numeric-owner', '--utc', '--full-time', '--quoting-style=escape'];
  const env = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' };
  const text = execFileSync('tar', args, {
    input: tarBytes([entry]),
    env,
  }).toString('latin1');
  return text.trimEnd().replaceAll(/ +/g, ' ');
}

/** The content that GNU tar extracts. */
function extracted(entry: TarEntry): Buffer {
  return execFileSync('tar', ['-xOf', '-'], { input: tarBytes([entry]), maxBuffer: 1 << 24 });
}

const long = 'n'.repeat(255);
const raw = Buffer.from([0x66, 0xff, 0xfe, 0x6f]);
const LISTINGS: readonly (readonly [name: string, entry: TarEntry, listing: string])[] = [
  ['a file', file('a', 'xyz'), '-rw-r--r-- 0/0 3 1970-01-01 00:00:00 a'],
  ['a setuid file', file('a', '', { mode: 0o4755 }), '-rwsr-xr-x 0/0 0 1970-01-01 00:00:00 a'],
  ['a directory', directory('d'), 'drwxr-xr-x 0/0 0 1970-01-01 00:00:00 d/'],
  ['a symbolic link', symlink('l', '../t'), 'lrwxrwxrwx 0/0 0 1970-01-01 00:00:00 l -> ../t'],
  ['a hard link', hardlink('h', 'a'), 'hrw-r--r-- 0/0 0 1970-01-01 00:00:00 h link to a'],
  ['a character device', device('c', 'character', 1, 3), 'crw------- 0/0 1,3 1970-01-01 00:00:00 c'],
  ['a block device', device('b', 'block', 259, 70000), 'brw------- 0/0 259,70000 1970-01-01 00:00:00 b'],
  ['a FIFO', fifo('p'), 'prw------- 0/0 0 1970-01-01 00:00:00 p'],
  ['a whiteout', whiteout('d/gone'), '-rw------- 0/0 0 1970-01-01 00:00:00 d/.wh.gone'],
  ['an opaque directory', opaque('d'), '-rw------- 0/0 0 1970-01-01 00:00:00 d/.wh..wh..opq'],
  [
    'large owners (pax)',
    file('a', '', { uid: 70000, gid: 3_000_000 }),
    '-rw-r--r-- 70000/3000000 0 1970-01-01 00:00:00 a',
  ],
  [
    'large owners (gnu)',
    file('a', '', { uid: 4_000_000_000, gid: 3_000_000, format: 'gnu' }),
    '-rw-r--r-- 4000000000/3000000 0 1970-01-01 00:00:00 a',
  ],
  ['before 1970 (pax)', file('a', '', { mtimeSeconds: -86400 }), '-rw-r--r-- 0/0 0 1969-12-31 00:00:00 a'],
  [
    'before 1970 (gnu)',
    file('a', '', { mtimeSeconds: -1, format: 'gnu' }),
    '-rw-r--r-- 0/0 0 1969-12-31 23:59:59 a',
  ],
  ['part of a second', file('a', '', { mtimeSeconds: 1.25 }), '-rw-r--r-- 0/0 0 1970-01-01 00:00:01.25 a'],
  ['a name of 255 bytes (pax)', file(long), `-rw-r--r-- 0/0 0 1970-01-01 00:00:00 ${long}`],
  [
    'a name of 255 bytes (gnu)',
    file(long, '', { format: 'gnu' }),
    `-rw-r--r-- 0/0 0 1970-01-01 00:00:00 ${long}`,
  ],
  ['a long link target (pax)', symlink('l', long), `lrwxrwxrwx 0/0 0 1970-01-01 00:00:00 l -> ${long}`],
  [
    'a long link target (gnu)',
    symlink('l', long, { format: 'gnu' }),
    `lrwxrwxrwx 0/0 0 1970-01-01 00:00:00 l -> ${long}`,
  ],
  ['a name that is not UTF-8', file(raw), '-rw-r--r-- 0/0 0 1970-01-01 00:00:00 f\\377\\376o'],
  [
    'a long name that is not UTF-8',
    file(Buffer.concat([raw, Buffer.from(long)])),
    `-rw-r--r-- 0/0 0 1970-01-01 00:00:00 f\\377\\376o${long}`,
  ],
];

describe('tarBytes()', () => {
  for (const [name, entry, listing] of LISTINGS) {
    it(`writes ${name} as GNU tar reads it`, () => assert.equal(listed(entry), listing));
  }

  for (const form of ['gnu', 'pax'] as const) {
    it(`writes a sparse file (${form}) with its holes`, () => {
      const segments = [
        { offset: 4096, data: Buffer.alloc(512, 1) },
        { offset: 1_000_000, data: Buffer.alloc(100, 2) },
      ];
      const sizeBytes = 1_000_100;
      const expected = Buffer.alloc(sizeBytes);
      for (const { offset, data } of segments) data.copy(expected, offset);
      const entry = file('s', '', { sparse: { form, sizeBytes, segments } });
      assert.ok(tarBytes([entry]).byteLength < 8192);
      assert.deepEqual(extracted(entry), expected);
    });
  }

  it('writes part of a second before 1970 as GNU tar sets it', () => {
    const path = mkdtempSync(join(tmpdir(), 'starlight-tar-'));
    try {
      execFileSync('tar', ['-xf', '-', '-C', path, '--warning=no-timestamp'], {
        input: tarBytes([file('a', '', { mtimeSeconds: -1.5 })]),
      });
      assert.equal(lstatSync(join(path, 'a'), { bigint: true }).mtimeNs, -1_500_000_000n);
    } finally {
      rmSync(path, { recursive: true });
    }
  });

  it('writes extended attributes as SCHILY.xattr records, raw bytes kept', () => {
    const capability = Buffer.from('0100000200040000', 'hex');
    const bytes = tarBytes([file('a', '', { xattrs: { 'user.k': 'v', 'security.capability': capability } })]);
    const expected = Buffer.concat([
      Buffer.from('25 SCHILY.xattr.user.k=v\n45 SCHILY.xattr.security.capability='),
      capability,
      Buffer.from('\n'),
    ]);
    assert.deepEqual(bytes.subarray(512, 512 + expected.byteLength), expected);
  });

  it('ends an archive of nothing with two zero blocks', () => {
    assert.deepEqual(tarBytes([]), Buffer.alloc(1024));
  });

  it('pads contents to whole blocks', () => {
    for (const size of [0, 1, 511, 512, 513]) {
      assert.equal(tarBytes([file('a', Buffer.alloc(size))]).byteLength, 1536 + Math.ceil(size / 512) * 512);
    }
  });

  it('refuses more segments than an old GNU header holds', () => {
    const segments = [0, 1, 2, 3, 4].map((n) => ({ offset: n * 4096, data: Buffer.alloc(1) }));
    const entry = file('s', '', { sparse: { form: 'gnu', sizeBytes: 20000, segments } });
    assert.throws(() => tarBytes([entry]), RangeError);
  });
});
