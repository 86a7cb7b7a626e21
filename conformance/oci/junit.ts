/** How one case of a suite ended. */
export type Outcome = 'passed' | 'failed' | 'skipped';

/**
 * The cases of a report, by name. The second suite has one name for a case per tag, in any order: there the tag is
 * added. Of several with one name still the second has " (2)" after it, and so on.
 */
export type CaseOutcomes = ReadonlyMap<string, Outcome>;

const CASE = /<testcase\s([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gs;
const OUTCOMES: Readonly<Record<string, Outcome>> = {
  passed: 'passed',
  failed: 'failed',
  failure: 'failed',
  error: 'failed',
  panicked: 'failed',
  timedout: 'failed',
  interrupted: 'failed',
  skipped: 'skipped',
  disabled: 'skipped',
  pending: 'skipped',
};
/** Cases of the second suite of which there is one per tag, and where each says which: its first request. */
const PER_TAG = /\/(?:manifest(?:-head)?-by-tag|tag-delete)$/;
const TAG = /\bURL: \S+?\/manifests\/(\S+)/;
/** That request stands within so many characters of a case's output. */
const TAG_LIMIT_CHARS = 2000;
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/**
 * Reads a JUnit report as both suites write it: one `testcase` per case, whose attribute `status` tells how it
 * ended. Ginkgo's nodes beside the cases (`[SynchronizedBeforeSuite]`, reports) are left out.
 *
 * @throws {Error} where there is no case, or one that ended in a way that is not known.
 */
export function readJunit(text: string): CaseOutcomes {
  const found = new Map<string, Outcome>();
  for (const [, attributes = '', inside = ''] of text.matchAll(CASE)) {
    const name = attribute(attributes, 'name').replace(/^\[It\] /, '');
    if (name.startsWith('[')) continue;
    const status = attribute(attributes, 'status');
    const outcome = OUTCOMES[status.toLowerCase()];
    if (outcome === undefined) throw new Error(`the case "${name}" ended with "${status}"`);
    const tag = PER_TAG.test(name) ? tagOf(inside) : undefined;
    const full = tag === undefined ? name : `${name} ${tag}`;
    let key = full;
    for (let number = 2; found.has(key); number += 1) key = `${full} (${number})`;
    found.set(key, outcome);
  }
  if (found.size === 0) throw new Error('the report has no cases');
  return found;
}

function tagOf(inside: string): string | undefined {
  const output = inside.indexOf('<system-err>');
  return output < 0 ? undefined : TAG.exec(decoded(inside.slice(output, output + TAG_LIMIT_CHARS)))?.[1];
}

function attribute(attributes: string, name: string): string {
  return decoded(new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(attributes)?.[1] ?? '');
}

function decoded(text: string): string {
  return text.replaceAll(/&(?:#(x?)([0-9a-fA-F]+)|(\w+));/g, (all, hex, code, entity) => {
    if (entity !== undefined) return ENTITIES[entity] ?? all;
    return String.fromCodePoint(Number.parseInt(code, hex === 'x' ? 16 : 10));
  });
}
