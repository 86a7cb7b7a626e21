import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { faults, type SuiteReport, table } from '../../conformance/oci/report.ts';
import { SUITES } from '../../conformance/oci/suites.ts';
import { obtainReleases } from './obtain-releases.ts';
import { obtainSuites } from './obtain-suites.ts';
import { runSuite } from './run-suite.ts';
import { Targets } from './targets.ts';

// npm run conformance: the official suites against everything that conformance/README.md names.

const USAGE = `npm run conformance -- [--report-dir DIR] [--built SUITE=FILE]… [--build-nothing] [--upstream NAME=URL]…

Runs the official conformance suites of the distribution-spec against the embedded registry, against docker-registry
(Debian's, and a release 3), and against the proxy in front of each of these; prints a table. Suites and release 3 are built by
the Go module proxy, once; what cannot be had is said and left out. Exit code 1 where a case does not pass on the
embedded registry, skipped ones included, or passes on another registry and not through the proxy: each is named;
2 where nothing could be run.

  --report-dir DIR     where the reports go (default .cache/conformance)
  --built SUITE=FILE   a suite that is built already: ${SUITES.map(({ name }) => `"${name}"`).join(', ')}
  --build-nothing      only suites that are built already, and not release 3
  --upstream NAME=URL  another registry that runs, to compare with alone and through the proxy`;

const say = (line: string) => console.error(line);

function pairs(option: string, texts: readonly string[]): Map<string, string> {
  return new Map(
    texts.map((text) => {
      const at = text.indexOf('=');
      if (at < 1) throw new TypeError(`--${option} ${text}: expected NAME=VALUE`);
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

function options() {
  const { values } = parseArgs({
    options: {
      'report-dir': { type: 'string', default: resolve(import.meta.dirname, '../../.cache/conformance') },
      built: { type: 'string', multiple: true, default: [] },
      'build-nothing': { type: 'boolean', default: false },
      upstream: { type: 'string', multiple: true, default: [] },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const built = pairs('built', values.built);
  const unknown = [...built.keys()].find((name) => !SUITES.some((suite) => suite.name === name));
  if (unknown !== undefined) throw new TypeError(`--built: there is no suite "${unknown}"`);
  return {
    help: values.help,
    reportDir: resolve(values['report-dir']),
    built,
    buildNothing: values['build-nothing'],
    running: pairs('upstream', values.upstream),
  };
}

async function main(): Promise<number> {
  let asked: ReturnType<typeof options>;
  try {
    asked = options();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // parseArgs throws these as well
    say(`${error.message}\n\n${USAGE}`);
    return 2;
  }
  if (asked.help) {
    console.log(USAGE);
    return 0;
  }
  const suites = await obtainSuites(say, asked);
  if (suites.length === 0) {
    say('no suite could be had: install Go, or name programs that are built already with --built');
    return 2;
  }
  const releases = asked.buildNothing ? new Map<string, string>() : await obtainReleases(say);
  await using targets = await Targets.start({ releases, running: asked.running });
  const reports: SuiteReport[] = [];
  for (const { suite, binary } of suites) {
    reports.push(await runSuite({ suite, binary, targets, reportDir: asked.reportDir, say }));
  }
  console.log(`passed / failed / skipped\n\n${table(reports)}`);
  const wrong = reports.flatMap(faults);
  for (const line of wrong) say(line);
  say(`reports: ${asked.reportDir}`);
  return wrong.length === 0 ? 0 : 1;
}

process.exitCode = await main();
