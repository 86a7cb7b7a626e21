import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, it } from 'mocha';

const ROOT = resolve(import.meta.dirname, '..');

/** What no file of a folder may import. Server and worker meet only in schemas (docs, and STYLE of the project). */
const FORBIDDEN: Readonly<Record<string, readonly string[]>> = {
  schemas: ['server', 'worker', 'extensions', 'conformance', 'test', 'scripts', 'bench'],
  extensions: ['server', 'worker', 'conformance', 'test', 'scripts', 'bench'],
  server: ['worker', 'conformance', 'test', 'scripts', 'bench'],
  worker: ['server', 'extensions', 'conformance', 'test', 'scripts', 'bench'],
  // Suites of the project's own interfaces import those interfaces, wherever they stand.
  conformance: ['test', 'scripts', 'bench'],
};

/** Module specifiers of static imports, re-exports, `import()` with a literal, and `require` with one. */
function specifiers(source: string): string[] {
  const withoutComments = source.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
  const patterns = [
    /\b(?:import|export)\s[^'"`;]*?from\s*(['"])(.+?)\1/g,
    /\bimport\s*(['"])(.+?)\1/g,
    /\b(?:import|require|resolve)\s*\(\s*(['"`])(.+?)\1/g,
  ];
  return patterns.flatMap((pattern) => [...withoutComments.matchAll(pattern)].map((match) => match[2] ?? ''));
}

/** Every import of a forbidden folder, as `file imports target`. */
function breaches(file: string, source: string): string[] {
  const folder = file.split('/')[0] ?? '';
  return specifiers(source)
    .filter((specifier) => specifier.startsWith('.') || specifier.startsWith('/'))
    .map((specifier) => relative(ROOT, resolve(ROOT, dirname(file), specifier)))
    .filter((target) => FORBIDDEN[folder]?.includes(target.split('/')[0] ?? '') === true)
    .map((target) => `${file} imports ${target}`);
}

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.[cm]?[jt]s$/.test(entry.name))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
}

const CASES: readonly (readonly [file: string, source: string, count: number])[] = [
  ['server/a.ts', "import { x } from '../schemas/oci/digest.ts';", 0],
  ['server/a.ts', "import { x } from '../extensions/starlight/x.ts';", 0],
  ['server/a.ts', "// import { x } from '../worker/x.ts';", 0],
  ['worker/cli/a.ts', "import { x } from '../store/x.ts';", 0],
  ['test/a.ts', "import { x } from '../worker/x.ts';", 0],
  ['server/a.ts', "import { x } from '../worker/x.ts';", 1],
  ['server/a.ts', "import type { X } from '../worker/x.ts';", 1],
  ['server/a.ts', "import {\n  x,\n  y,\n} from '../worker/x.ts';", 1],
  ['server/deep/a.ts', "export * from '../../worker/x.ts';", 1],
  ['server/a.ts', "export { x } from '../worker/x.ts';", 1],
  ['server/a.ts', "import '../worker/x.ts';", 1],
  ['server/a.ts', "const x = await import('../worker/x.ts');", 1],
  ['server/a.ts', 'const x = require("../worker/x.ts");', 1],
  ['worker/a.ts', "import { x } from '../server/x.ts';\nimport { y } from '../extensions/y.ts';", 2],
  ['schemas/a.ts', "import { x } from '../extensions/x.ts';", 1],
  ['extensions/starlight/a.ts', "import { x } from '../../server/x.ts';", 1],
  ['conformance/a.ts', "import type { X } from '../worker/x.ts';", 0],
  ['conformance/a.ts', "import { x } from '../bench/x.ts';", 1],
];

describe('breaches()', () => {
  for (const [file, source, count] of CASES) {
    it(`finds ${count} in ${file}: ${JSON.stringify(source)}`, () => {
      assert.equal(breaches(file, source).length, count);
    });
  }
});

describe('imports', () => {
  for (const folder of Object.keys(FORBIDDEN)) {
    it(`of ${folder} keep to their folders`, () => {
      const files = sources(folder);
      assert.deepEqual(
        files.flatMap((file) => breaches(file, readFileSync(join(ROOT, file), 'utf8'))),
        [],
      );
    });
  }
});
