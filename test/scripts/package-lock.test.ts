import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, it } from 'mocha';

/**
 * What `npm ci` needs in a fresh clone and `npm install` does not always write: it has left out optional
 * packages for other machines, and then `npm ci` refuses the whole lock file.
 */

type Dependencies = Readonly<Record<string, string>>;
type Entry = {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly optional?: boolean;
  readonly dependencies?: Dependencies;
  readonly devDependencies?: Dependencies;
  readonly optionalDependencies?: Dependencies;
};

const read = (name: string) => JSON.parse(readFileSync(resolve(import.meta.dirname, '../..', name), 'utf8'));
const manifest: Entry = read('package.json');
const packages: Readonly<Record<string, Entry>> = read('package-lock.json').packages;
const FIELDS = ['dependencies', 'devDependencies', 'optionalDependencies'] as const;

/** The place of `name` as the package at `path` would find it: in its own node_modules or one above. */
function found(path: string, name: string): boolean {
  for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf('node_modules/') - 1))) {
    if (`${at === '' ? '' : `${at}/`}node_modules/${name}` in packages) return true;
    if (at === '') return false;
  }
}

describe('package-lock.json', () => {
  for (const field of FIELDS) {
    it(`names the same ${field} as package.json`, () => {
      assert.deepEqual(packages['']?.[field] ?? {}, manifest[field] ?? {});
    });
  }

  it('has an entry for everything that any package depends on, optional or for other machines', () => {
    const missing = Object.entries(packages).flatMap(([path, entry]) =>
      FIELDS.filter((field) => path === '' || field !== 'devDependencies')
        .flatMap((field) => Object.keys(entry[field] ?? {}))
        .filter((name) => !found(path, name))
        .map((name) => `${path} needs ${name}`),
    );
    assert.deepEqual(missing, []);
  });

  it('names no registry, and the digest of all that is not optional', () => {
    for (const [path, entry] of Object.entries(packages)) {
      assert.equal(entry.resolved, undefined, path);
      if (path !== '' && entry.optional !== true) assert.match(entry.integrity ?? '', /^sha512-/, path);
    }
  });

  it('pins exact versions in package.json', () => {
    for (const field of FIELDS) {
      for (const version of Object.values(manifest[field] ?? {})) assert.match(version, /^\d+\.\d+\.\d+$/);
    }
  });
});
