import assert from 'node:assert/strict';
import { gunzipSync, gzipSync } from 'node:zlib';
import { ByteWindow } from '../../../schemas/layer/byte-window.ts';
import { gunzipMembers } from '../../../schemas/layer/gzip-members.ts';
import { HiddenRun, hiddenPiece, hideMembers } from '../../../schemas/layer/hidden-members.ts';
import { LayerError } from '../../../schemas/layer/layer-error.ts';
import { scanLayer } from '../../../schemas/layer/scan-layer.ts';
import { writeSeekableLayer } from '../../../schemas/layer/seekable-layer.ts';
import { type SparseFile, SparseExpander } from '../../../schemas/layer/sparse-file.ts';
import { file, tarBytes } from '../../support/tar.ts';

const signal = new AbortController().signal;

describe('hideMembers()', () => {
  const texts = ['first', 'second '.repeat(1_000), 'third'];
  const hidden = hideMembers(texts.map((text) => gzipSync(text)));

  it('decompresses to nothing', () => {
    assert.equal(gunzipSync(hidden).length, 0);
  });

  it('holds a run of whole members that decompress to the content', async () => {
    const run = new HiddenRun();
    let pieces = 0;
    for await (const _ of gunzipMembers(new ByteWindow([hidden], signal), (member) => {
      const piece = hiddenPiece(member);
      assert.ok(piece);
      run.add(member.offset, piece);
      pieces += 1;
    })) {
      assert.fail('output');
    }
    assert.equal(pieces, 3);
    const range = hidden.subarray(run.offset, run.offset + run.lengthBytes);
    assert.equal(gunzipSync(range).toString(), texts.join(''));
    assert.equal(Buffer.concat(run.pieces).length, range.length);
  });

  it('refuses a member that no extra field holds', () => {
    assert.throws(() => hideMembers([Buffer.alloc(65_532)]), RangeError);
  });
});

describe('SparseExpander', () => {
  const expand = (sparse: SparseFile, pieces: readonly string[]): string => {
    let out = '';
    const expander = new SparseExpander(sparse, {
      data: (bytes) => {
        out += bytes.toString('latin1');
      },
      zeros: (count) => {
        out += '.'.repeat(count);
      },
    });
    for (const piece of pieces) expander.push(Buffer.from(piece, 'latin1'));
    expander.end();
    return out;
  };
  const map = (text: string): string => text.padEnd(512, '\0');
  const at = (offset: number, lengthBytes: number) => ({ offset, lengthBytes });
  const good: readonly (readonly [string, SparseFile, readonly string[], string])[] = [
    ['a hole at both ends', { sizeBytes: 9, segments: [at(3, 2)] }, ['ab'], '...ab....'],
    [
      'two segments, data cut anywhere',
      { sizeBytes: 8, segments: [at(0, 2), at(5, 3)] },
      ['a', 'bc', 'de'],
      'ab...cde',
    ],
    ['one hole', { sizeBytes: 4, segments: [] }, [], '....'],
    [
      'an empty segment at the end, as GNU tar writes it',
      { sizeBytes: 5, segments: [at(1, 1), at(5, 0)] },
      ['x'],
      '.x...',
    ],
    [
      'a map in front, cut anywhere',
      { sizeBytes: 5, segments: undefined },
      [map('1\n2\n3\n').slice(0, 3), `${map('1\n2\n3\n').slice(3)}abc`],
      '..abc',
    ],
    ['an empty map in front', { sizeBytes: 3, segments: undefined }, [map('0\n')], '...'],
  ];
  for (const [name, sparse, pieces, expected] of good) {
    it(name, () => assert.equal(expand(sparse, pieces), expected));
  }
  const bad: readonly (readonly [string, SparseFile, readonly string[]])[] = [
    ['too much data', { sizeBytes: 9, segments: [at(3, 2)] }, ['abc']],
    ['too little data', { sizeBytes: 9, segments: [at(3, 2)] }, ['a']],
    ['no map', { sizeBytes: 9, segments: undefined }, []],
    ['half a map', { sizeBytes: 9, segments: undefined }, ['2\n0\n1\n']],
    ['a map that is no number', { sizeBytes: 9, segments: undefined }, [map('x\n')]],
    ['a map of negative length', { sizeBytes: 9, segments: undefined }, [map('-1\n')]],
    ['a map that overlaps', { sizeBytes: 9, segments: undefined }, [map('2\n0\n3\n2\n3\n')]],
    ['a map beyond the file', { sizeBytes: 9, segments: undefined }, [map('1\n8\n3\n')]],
    ['a negative segment', { sizeBytes: 9, segments: undefined }, [map('1\n0\n-3\n')]],
  ];
  for (const [name, sparse, pieces] of bad) {
    it(`refuses ${name}`, () => assert.throws(() => expand(sparse, pieces), LayerError));
  }
});

describe('scanLayer() of a sparse file', () => {
  it('refuses a layer whose hidden content is another', async () => {
    const sparse = {
      form: 'pax',
      sizeBytes: 9_000,
      segments: [{ offset: 1_000, data: Buffer.from('data') }],
    } as const;
    const members = await Array.fromAsync(
      writeSeekableLayer([tarBytes([file('s', '', { sparse })])], signal),
    );
    const series = members.findIndex((member) => member[3] === 4);
    assert.ok(series >= 0);
    members[series] = hideMembers([gzipSync(Buffer.alloc(9_000))]);
    await assert.rejects(scanLayer([Buffer.concat(members)], signal), { kind: 'toc-mismatch' });
    members.splice(series, 1);
    await assert.rejects(scanLayer([Buffer.concat(members)], signal), { kind: 'sparse' });
  });
});
