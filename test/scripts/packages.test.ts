import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, it } from 'mocha';

/** Every package that is named is used: the product's by the product, the others by something here. */

const ROOT = resolve(import.meta.dirname, '../..');
type Dependencies = Readonly<Record<string, string>>;
const manifest: {
  readonly [field in 'dependencies' | 'devDependencies' | 'optionalDependencies']: Dependencies;
} = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

const PRODUCT = ['server', 'worker', 'schemas', 'extensions', 'bin'];
const OTHERS = ['conformance', 'test', 'bench', 'scripts'];
/** Used by their commands, or as the Node that bin/node runs. */
const PROGRAMS: ReadonlySet<string> = new Set(['@biomejs/biome', 'typescript', 'mocha']);

function sources(folders: readonly string[]): string {
  const files = folders.flatMap((folder) => globSync(`${folder}/{node,**/*.{ts,mjs}}`, { cwd: ROOT }));
  return files.map((file) => readFileSync(join(ROOT, file), 'utf8')).join('\n');
}

const product = sources(PRODUCT);
const everything = `${product}\n${sources(OTHERS)}`;

function isImported(name: string, by: string): boolean {
  return new RegExp(`(?:from|import|import\\(|require\\(|resolve\\()\\s*['"\`]${name}['"/\`]`).test(by);
}

describe('package.json', () => {
  for (const name of Object.keys(manifest.dependencies)) {
    it(`${name} is imported by the product`, () => assert.ok(isImported(name, product)));
  }
  for (const name of Object.keys(manifest.optionalDependencies)) {
    it(`${name} is used by the product`, () =>
      assert.ok(isImported(name, product) || product.includes(`node_modules/${name}/`)));
  }
  for (const name of Object.keys(manifest.devDependencies)) {
    const typed = /^@types\/(.+)$/.exec(name)?.[1]?.replace(/^(.+)__/, '@$1/');
    it(`${name} is needed`, () =>
      assert.ok(
        PROGRAMS.has(name) ||
          isImported(name, everything) ||
          (typed !== undefined && (typed === 'node' || isImported(typed, everything))),
      ));
  }
});
