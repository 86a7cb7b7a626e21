import { constants } from 'node:os';
import { CommanderError } from 'commander';
import { CliError } from './cli-error.ts';
import { createProgram } from './program.ts';
import { printable, processTerminal } from './terminal.ts';

/** `ctr-starlight`: see program.ts for the commands. */

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
/** As a shell tells of a command that a signal has ended: 130 and 143. */
const EXIT_SIGNALLED = 128;

const interrupt = new AbortController();
let exitInterrupted = EXIT_FAILED;
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => {
    exitInterrupted = EXIT_SIGNALLED + constants.signals[name];
    interrupt.abort(new CliError('interrupted', 'interrupted'));
  });
}
for (const stream of [process.stdout, process.stderr]) {
  // The reader of a pipe went away: ended as by a signal, since a conversion has files to take away.
  stream.on('error', () =>
    interrupt.abort(new CliError('output-closed', 'nobody reads the output any more')),
  );
}

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
  const { code, message, hint } =
    error instanceof CliError
      ? error
      : interrupt.signal.aborted
        ? { code: 'interrupted', message: 'interrupted', hint: undefined }
        : {
            code: 'failed',
            message: error instanceof Error ? error.message : String(error),
            hint: undefined,
          };
  if (json)
    process.stderr.write(
      `${JSON.stringify({ error: { code, message, ...(hint === undefined ? {} : { hint }) } })}\n`,
    );
  else process.stderr.write(printable(`error: ${message}\n${hint === undefined ? '' : `hint: ${hint}\n`}`));
  return interrupt.signal.aborted ? exitInterrupted : EXIT_FAILED;
}
