import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type ElfNeeds, type ReadableFile, readElf } from '../../../../extensions/starlight/start/elf.ts';
import { ELF_LIMIT } from '../../../../extensions/starlight/start/limits.ts';
import { type ElfFields, madeElf } from '../../../support/made-elf.ts';
import { randomly } from '../../../support/randomly.ts';

/** Notes how much was asked for at once. */
class Bytes implements ReadableFile {
  readonly #bytes: Uint8Array;
  mostBytes = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get sizeBytes(): number {
    return this.#bytes.length;
  }

  async read(offset: number, lengthBytes: number): Promise<Uint8Array | undefined> {
    if (!(offset >= 0 && lengthBytes >= 0 && offset + lengthBytes <= this.sizeBytes)) return undefined;
    this.mostBytes = Math.max(this.mostBytes, lengthBytes);
    return this.#bytes.subarray(offset, offset + lengthBytes);
  }
}

const needsOf = (bytes: Uint8Array) => readElf(new Bytes(bytes));
const PROGRAM: ElfFields = {
  interpreter: '/lib64/ld.so',
  needed: ['liba.so.1', 'libb.so.2'],
  runpath: '$ORIGIN/../lib:/opt/lib',
};

const READ: readonly (readonly [what: string, fields: ElfFields, expected: Partial<ElfNeeds>])[] = [
  ['a program', PROGRAM, { interpreter: '/lib64/ld.so', needed: ['liba.so.1', 'libb.so.2'] }],
  ['its RUNPATH', PROGRAM, { runpath: ['$ORIGIN/../lib', '/opt/lib'], rpath: [] }],
  ['an RPATH', { rpath: '/a::/b' }, { rpath: ['/a', '/b'], runpath: [] }],
  [
    'a library',
    { soname: 'libx.so.1', needed: ['libc.so.6'] },
    { soname: 'libx.so.1', interpreter: undefined },
  ],
  [
    'of 32 bits',
    { ...PROGRAM, bits: 32, machine: 3 },
    { bits: 32, machine: 3, needed: ['liba.so.1', 'libb.so.2'] },
  ],
  ['big endian', { ...PROGRAM, bigEndian: true, machine: 22 }, { machine: 22, interpreter: '/lib64/ld.so' }],
  [
    'of 32 bits, big endian',
    { ...PROGRAM, bits: 32, bigEndian: true },
    { needed: ['liba.so.1', 'libb.so.2'] },
  ],
  [
    'strings behind the dynamic section',
    { ...PROGRAM, stringsLast: true },
    { needed: ['liba.so.1', 'libb.so.2'] },
  ],
  ['what needs nothing', {}, { needed: [], rpath: [], runpath: [], soname: undefined }],
  [
    'no more needs than the limit',
    { needed: Array.from({ length: ELF_LIMIT.needed + 9 }, (_, n) => `l${n}`) },
    { needed: Array.from({ length: ELF_LIMIT.needed }, (_, n) => `l${n}`) },
  ],
];

/** Damaged at a place of a 64-bit, little-endian program: offsets as in the comment of readElf(). */
function patched(patch: (bytes: Buffer) => void, fields: ElfFields = PROGRAM): Buffer {
  const bytes = madeElf(fields);
  patch(bytes);
  return bytes;
}

const DYNAMIC_HEADER = 64 + 56;
const REFUSED: readonly (readonly [what: string, bytes: Uint8Array])[] = [
  ['nothing', Buffer.alloc(0)],
  ['four bytes', Buffer.from('\x7fELF')],
  ['text', Buffer.from('#!/bin/sh\n'.repeat(20))],
  ['another class', patched((bytes) => bytes.writeUInt8(3, 4))],
  ['another byte order', patched((bytes) => bytes.writeUInt8(0, 5))],
  ['program headers beyond the file', patched((bytes) => bytes.writeBigUInt64LE(1n << 40n, 32))],
  [
    'program headers at the end of all numbers',
    patched((bytes) => bytes.writeBigUInt64LE((1n << 64n) - 1n, 32)),
  ],
  ['program headers of another size', patched((bytes) => bytes.writeUInt16LE(8, 54))],
  ['more program headers than the limit', patched((bytes) => bytes.writeUInt16LE(65_535, 56))],
  ['a dynamic section beyond the file', patched((b) => b.writeBigUInt64LE(1n << 33n, DYNAMIC_HEADER + 8))],
  ['a string table at no address', patched((b) => b.writeBigUInt64LE(7n << 40n, b.length - 48 + 8))],
  ['a string table without a size', patched((b) => b.writeBigUInt64LE(99n, b.length - 32))],
];

describe('readElf()', () => {
  for (const [what, fields, expected] of READ) {
    it(`reads ${what}`, async () => {
      const needs = await needsOf(madeElf(fields));
      assert.ok(needs !== undefined);
      for (const [key, value] of Object.entries(expected)) {
        assert.deepEqual(needs[key as keyof ElfNeeds], value, key); // keys of ElfNeeds
      }
    });
  }

  for (const [what, bytes] of REFUSED) {
    it(`takes for no ELF file ${what}`, async () => assert.equal(await needsOf(bytes), undefined));
  }

  it('tells machines, classes and byte orders apart', async () => {
    const kinds = await Promise.all(
      [{}, { bits: 32 }, { bigEndian: true }, { machine: 183 }].map(
        (fields) => needsOf(madeElf(fields as ElfFields)).then((needs) => needs?.kind), // one field each
      ),
    );
    assert.equal(new Set(kinds).size, 4);
  });

  it('leaves out a string without an end', async () => {
    const bytes = madeElf({ needed: ['liba.so'], stringsLast: true });
    bytes.fill(0x61, bytes.length - 1);
    assert.deepEqual((await needsOf(bytes))?.needed, []);
  });

  it('leaves out a string beyond the table', async () => {
    const bytes = patched((b) => b.writeBigUInt64LE(1n << 30n, b.length - 96 + 8));
    assert.deepEqual((await needsOf(bytes))?.needed, ['libb.so.2']);
  });

  it("reads this machine's own programs", async () => {
    const needs = await needsOf(readFileSync('/bin/bash'));
    assert.ok(needs !== undefined && needs.interpreter?.includes('ld-') === true);
    assert.ok(needs.needed.some((name) => name.startsWith('libc.')));
  });

  it('answers every truncation, and never asks for more than its limits', async () => {
    const whole = madeElf(PROGRAM);
    for (let length = 0; length < whole.length; length += 1) {
      assert.equal(await needsOf(whole.subarray(0, length)), undefined, `${length} bytes`);
    }
  });

  for (const fields of [PROGRAM, { ...PROGRAM, bits: 32 }, { ...PROGRAM, bigEndian: true }] as const) {
    it(`answers damage within bounds: ${JSON.stringify(fields)}`, async () => {
      const whole = madeElf(fields);
      const random = randomly(7);
      for (let round = 0; round < 3000; round += 1) {
        const file = new Bytes(random.damaged(whole));
        const needs = await readElf(file);
        assert.ok(file.mostBytes <= whole.length);
        for (const text of [...(needs?.needed ?? []), needs?.interpreter ?? '']) {
          assert.ok(text.length <= ELF_LIMIT.stringBytes);
        }
      }
    });
  }
});
