import { buildGoTool, type GoTool, GoToolError } from '../lib/go-tool.ts';

/** The registry that Debian's docker-registry is release 2.8 of, under the name that it has now. */
const DISTRIBUTION: GoTool = {
  name: 'distribution',
  module: 'github.com/distribution/distribution/v3',
  version: 'v3.1.2',
  sum: 'h1:/Bv2YIqqSR00HiO49FT93hovy6r9IlrzwUDsJjCN5qg=',
  package: './cmd/registry',
};

/** Builds what `Targets` takes as `releases`. What cannot be had is said, and left out. */
export async function obtainReleases(say: (line: string) => void): Promise<ReadonlyMap<string, string>> {
  const name = `${DISTRIBUTION.name} ${DISTRIBUTION.version.slice(1)}`;
  try {
    return new Map([[name, await buildGoTool(DISTRIBUTION)]]);
  } catch (error) {
    if (!(error instanceof GoToolError)) throw error;
    say(`${name}: ${error.message}`);
    return new Map();
  }
}
