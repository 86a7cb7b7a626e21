import type { CaseOutcomes, Outcome } from './junit.ts';
import { type Workflow, workflowOf } from './workflow.ts';

/** How many of some cases ended how. */
export type Tally = Readonly<Record<Outcome, number>>;

/**
 * Several passes of one suite as one: what failed in any has failed; what ran in any has run. Cases that exclude
 * each other (a registry that mounts blobs, one that does not) run in different passes.
 */
export function mergePasses(passes: readonly CaseOutcomes[]): CaseOutcomes {
  const merged = new Map<string, Outcome>();
  for (const pass of passes) {
    for (const [name, outcome] of pass) {
      const before = merged.get(name);
      if (before === 'failed' || (before === 'passed' && outcome === 'skipped')) continue;
      merged.set(name, outcome);
    }
  }
  return merged;
}

export function tally(cases: CaseOutcomes, workflow: Workflow): Tally {
  const counts: Record<Outcome, number> = { passed: 0, failed: 0, skipped: 0 };
  for (const [name, outcome] of cases) if (workflowOf(name) === workflow) counts[outcome] += 1;
  return counts;
}

/** The cases that did not pass. */
export function notPassed(cases: CaseOutcomes): string[] {
  return [...cases].filter(([, outcome]) => outcome !== 'passed').map(([name]) => name);
}

/**
 * The blobs of one set of the second suite: random data, gone through in any order. No report says which is which,
 * and they differ in nothing but that.
 */
const ALIKE = /^(.*\/(?:push|head|pull|delete)\/blob-[a-z-]+)(?: \(\d+\))?$/;

/**
 * The cases that the proxy makes worse: those that pass without it and do not through it, whether they fail there,
 * are skipped or missing, and those that fail instead of being skipped. Each case is compared with itself; of those
 * that are `ALIKE` it is counted how many end how.
 */
export function regressions(alone: CaseOutcomes, through: CaseOutcomes): string[] {
  const after = endings(through);
  return [...endings(alone)]
    .filter(([name, was]) => {
      const is = after.get(name) ?? NONE;
      return is.passed < was.passed || (was.skipped > 0 && is.failed > was.failed);
    })
    .map(([name]) => name);
}

const NONE: Tally = { passed: 0, failed: 0, skipped: 0 };

function endings(cases: CaseOutcomes): Map<string, Tally> {
  const counts = new Map<string, Tally>();
  for (const [key, outcome] of cases) {
    const name = ALIKE.exec(key)?.[1] ?? key;
    const before = counts.get(name) ?? NONE;
    counts.set(name, { ...before, [outcome]: before[outcome] + 1 });
  }
  return counts;
}
