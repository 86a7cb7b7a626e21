/** How one case of a suite ended. */
export type Outcome = 'passed' | 'failed' | 'skipped';

/** The cases of a report, by name; of several with one name the second has " (2)" after it, and so on. */
export type CaseOutcomes = ReadonlyMap<string, Outcome>;

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
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/**
 * Reads a JUnit report as both suites write it: one `testcase` per case, whose attribute `status` tells how it
 * ended. Ginkgo's nodes beside the cases (`[SynchronizedBeforeSuite]`, reports) are left out.
 *
 * @throws {Error} where there is no case, or one that ended in a way that is not known.
 */
export function readJunit(text: string): CaseOutcomes {
  const found = new Map<string, Outcome>();
  for (const [, attributes = ''] of text.matchAll(/<testcase\s([^>]*)>/g)) {
    const name = attribute(attributes, 'name').replace(/^\[It\] /, '');
    if (name.startsWith('[')) continue;
    const status = attribute(attributes, 'status');
    const outcome = OUTCOMES[status.toLowerCase()];
    if (outcome === undefined) throw new Error(`the case "${name}" ended with "${status}"`);
    let key = name;
    for (let number = 2; found.has(key); number += 1) key = `${name} (${number})`;
    found.set(key, outcome);
  }
  if (found.size === 0) throw new Error('the report has no cases');
  return found;
}

function attribute(attributes: string, name: string): string {
  const match = new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(attributes);
  return (match?.[1] ?? '').replaceAll(/&(?:#(x?)([0-9a-fA-F]+)|(\w+));/g, (all, hex, code, entity) => {
    if (entity !== undefined) return ENTITIES[entity] ?? all;
    return String.fromCodePoint(Number.parseInt(code, hex === 'x' ? 16 : 10));
  });
}
