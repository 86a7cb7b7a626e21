import { MODULE, type Suite, SUITES } from '../../conformance/oci/suites.ts';
import { buildGoTool, GoToolError } from '../lib/go-tool.ts';

export interface ObtainedSuite {
  readonly suite: Suite;
  readonly binary: string;
}

export interface ObtainOptions {
  /** The programs of suites that are there already, by name. */
  readonly built?: ReadonlyMap<string, string>;
  /** None but those. */
  readonly buildNothing?: boolean;
}

/**
 * Builds the suites by the Go module proxy. One that cannot be had is said, and left to the one that stands in for
 * it.
 */
export async function obtainSuites(
  say: (line: string) => void,
  { built = new Map(), buildNothing = false }: ObtainOptions = {},
): Promise<readonly ObtainedSuite[]> {
  const found: ObtainedSuite[] = [];
  for (const suite of SUITES) {
    if (found.some((one) => one.suite.name === suite.standsInFor)) continue;
    const binary = built.get(suite.name) ?? (buildNothing ? undefined : await build(suite, say));
    if (binary !== undefined) found.push({ suite, binary });
  }
  return found;
}

async function build(
  { name, kind, version, sum }: Suite,
  say: (line: string) => void,
): Promise<string | undefined> {
  try {
    const test = kind === 'tests';
    return await buildGoTool({ name: 'oci-conformance', module: MODULE, version, sum, package: '.', test });
  } catch (error) {
    if (!(error instanceof GoToolError)) throw error;
    say(`${name}: ${error.message}`);
    return undefined;
  }
}
