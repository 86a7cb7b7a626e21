import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SampleContents, sampleBytes } from '../../../conformance/filesystem/sample-content.ts';
import { file, sampleTree } from '../../../conformance/filesystem/sample-tree.ts';
import { ContentFiles, contentPath } from '../../../worker/filesystem/content-files.ts';
import { FileSystemError } from '../../../worker/filesystem/error.ts';

const BYTES = Array.from({ length: 9 }, (_, index) => sampleBytes(100 + index, index));

describe('ContentFiles', () => {
  let directory: string;
  let contents: SampleContents;
  const tree = sampleTree(BYTES.map((bytes, index) => file(`f${index}`, bytes)));
  const contentOf = (index: number) => tree.content[tree.resolve(`f${index}`)] ?? -1;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'starlight-contents-'));
    contents = new SampleContents(directory);
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  /** Descriptors of this process that lie below the directory. */
  function openCount(): number {
    return readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith(directory);
      } catch {
        return false; // the descriptor of readdir itself
      }
    }).length;
  }

  it('finds a content where the store puts it', () => {
    const digest = contents.put(BYTES[0] ?? Buffer.alloc(0));
    assert.equal(contentPath(directory, tree.contentDigest, contentOf(0)), contents.pathOf(digest));
  });

  it('says -1 for what is not there, and finds it when it has come', () => {
    const files = new ContentFiles(directory, tree);
    assert.equal(files.open(contentOf(0)), -1);
    contents.put(BYTES[0] ?? Buffer.alloc(0));
    assert.ok(files.open(contentOf(0)) >= 0);
    files.close();
  });

  it('reads each content through fewer descriptors than contents, again and again', () => {
    for (const bytes of BYTES) contents.put(bytes);
    const files = new ContentFiles(directory, tree, 3);
    for (const index of [0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 8, 1, 7, 2, 6, 3, 5, 4, 4, 0]) {
      const bytes = BYTES[index] ?? Buffer.alloc(0);
      const target = Buffer.alloc(bytes.length + 7);
      assert.equal(files.read(files.open(contentOf(index)), target, 3, bytes.length + 4, 0), bytes.length);
      assert.ok(target.subarray(3, 3 + bytes.length).equals(bytes));
      assert.ok(openCount() <= 3);
    }
    files.close();
    assert.equal(openCount(), 0);
  });

  it('keeps what is used and evicts what is not', () => {
    for (const bytes of BYTES) contents.put(bytes);
    const files = new ContentFiles(directory, tree, 2);
    const first = files.open(contentOf(0));
    files.open(contentOf(1));
    files.open(contentOf(2));
    assert.equal(openCount(), 2);
    assert.notEqual(files.open(contentOf(0)), -1);
    assert.ok(first >= 0);
    files.close();
  });

  it('refuses a file of the wrong size, and leaves no descriptor', () => {
    const digest = contents.put(BYTES[4] ?? Buffer.alloc(0));
    writeFileSync(contents.pathOf(digest), 'too short');
    const files = new ContentFiles(directory, tree);
    assert.throws(
      () => files.open(contentOf(4)),
      (error) => error instanceof FileSystemError && error.fault.kind === 'content-size',
    );
    assert.equal(openCount(), 0);
  });

  it('takes nothing but ENOENT for a miss', () => {
    const files = new ContentFiles(join(directory, 'file'), tree);
    writeFileSync(join(directory, 'file'), '');
    assert.throws(() => files.open(contentOf(0)), { code: 'ENOTDIR' });
  });
});
