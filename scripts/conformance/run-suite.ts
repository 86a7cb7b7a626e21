import { join } from 'node:path';
import type { CaseOutcomes } from '../../conformance/oci/junit.ts';
import type { SuiteReport } from '../../conformance/oci/report.ts';
import type { Pass, Suite } from '../../conformance/oci/suites.ts';
import { mergePasses } from '../../conformance/oci/tally.ts';
import { runPass } from './run-pass.ts';
import type { Targets } from './targets.ts';

export interface SuiteRun {
  readonly suite: Suite;
  readonly binary: string;
  readonly targets: Targets;
  /** Below it, a directory per suite, registry and pass. */
  readonly reportDir: string;
  readonly say: (line: string) => void;
}

/** Runs a suite against the embedded registry, and against each other registry alone and through the proxy. */
export async function runSuite(run: SuiteRun): Promise<SuiteReport> {
  const { suite, targets } = run;
  const embedded: CaseOutcomes[] = [];
  for (const pass of suite.passes) {
    embedded.push(await passOf(run, pass, 'embedded', await targets.embedded(pass.settings)));
  }
  const compared = [];
  for (const { name, aloneUrl, throughUrls } of targets.compared) {
    const alone = await plainPasses(run, name, aloneUrl);
    const through = new Map<string, CaseOutcomes>();
    for (const [how, url] of throughUrls) through.set(how, await plainPasses(run, `${name} ${how}`, url));
    compared.push({ name, alone, through });
  }
  return { suite: suite.name, embedded: mergePasses(embedded), compared };
}

/** The passes that are not about settings of ours. */
async function plainPasses(run: SuiteRun, target: string, url: string): Promise<CaseOutcomes> {
  const results: CaseOutcomes[] = [];
  for (const pass of run.suite.passes) {
    if (pass.settings === undefined) results.push(await passOf(run, pass, target, url));
  }
  return mergePasses(results);
}

async function passOf(run: SuiteRun, pass: Pass, target: string, url: string): Promise<CaseOutcomes> {
  const { suite, binary } = run;
  run.say(`${suite.name}: ${target}, ${pass.title}`);
  const place = [slug(suite.name), `${slug(target)}-${slug(pass.title)}`] as const;
  return await runPass({
    suite,
    pass,
    binary,
    url,
    prefix: place.join('/'),
    reportDir: join(run.reportDir, ...place),
  });
}

/** Fit for a file's name and for a component of a repository's. */
function slug(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9.]+/g, '-')
    .replaceAll(/\.?-\.?|\.$/g, '-')
    .replace(/-$/, '');
}
