import { CommanderError } from 'commander';
import { CliError } from './cli-error.ts';
import { createProgram } from './program.ts';
import { processTerminal } from './terminal.ts';

/** `ctr-starlight`: see program.ts for the commands. */

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_INTERRUPTED = 130;

const interrupt = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupt.abort());
process.stdout.on('error', () => process.exit(EXIT_FAILED)); // the reader of a pipe went away

let json = false;
const program = createProgram((asJson) => {
  json = asJson;
  return processTerminal(asJson);
}, interrupt.signal);
for (const command of [program, ...program.commands, ...program.commands.flatMap((one) => one.commands)]) {
  command.exitOverride();
}

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = explain(error);
}

/** Says on standard error what went wrong; the exit code for it. */
function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE; // commander has said why
  if (interrupt.signal.aborted) {
    process.stderr.write('interrupted: what the daemon has begun goes on in the background\n');
    return EXIT_INTERRUPTED;
  }
  const { code, message, hint } =
    error instanceof CliError
      ? error
      : { code: 'failed', message: error instanceof Error ? error.message : String(error), hint: undefined };
  if (json)
    process.stderr.write(
      `${JSON.stringify({ error: { code, message, ...(hint === undefined ? {} : { hint }) } })}\n`,
    );
  else process.stderr.write(`error: ${message}\n${hint === undefined ? '' : `hint: ${hint}\n`}`);
  return EXIT_FAILED;
}
