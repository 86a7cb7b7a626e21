import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { createProgram } from '../../../worker/cli/program.ts';

/** Every `ctr-starlight …` that help and README show is a command that is understood. */

const README = new URL('../../../README.md', import.meta.url);

function program(ran: string[]): Command {
  const terminal = () => assert.fail('nothing is done');
  const made = createProgram(terminal, new AbortController().signal);
  for (const command of all(made)) {
    command.exitOverride().configureOutput({ writeOut: () => {}, writeErr: () => {} });
    if (command.commands.length === 0) command.action(() => void ran.push(command.name()));
  }
  return made;
}

function all(command: Command): Command[] {
  return [command, ...command.commands.flatMap(all)];
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (piece) => {
      text += piece;
    },
  });
  command.outputHelp();
  return text;
}

/** The arguments of each command line in `text`; lines that end in a backslash go on. */
function examplesIn(text: string): string[][] {
  const lines = text.replaceAll(/\\\n\s*/g, ' ').split('\n');
  return lines.flatMap((line) => {
    const match = /^\s{2,}(?:bin\/|.*&& )?ctr-starlight ([^|#&]*)/.exec(line);
    return match?.[1] === undefined ? [] : [match[1].trim().split(/\s+/)];
  });
}

describe('examples of ctr-starlight', () => {
  const named = all(program([])).map((command): [string, string[][]] => [
    `${command.name()} --help`,
    examplesIn(helpOf(command)),
  ]);
  for (const [where, examples] of [
    ...named,
    ['README.md', examplesIn(readFileSync(README, 'utf8'))] as const,
  ]) {
    it(`${where}: each is understood`, async () => {
      for (const example of examples) {
        const ran: string[] = [];
        await program(ran).parseAsync(example, { from: 'user' });
        assert.equal(ran.length, 1, example.join(' '));
      }
    });
  }

  it('there are some wherever they are expected', () => {
    const without = named.filter(([, examples]) => examples.length === 0).map(([where]) => where);
    assert.deepEqual(without, ['list --help', 'show --help', 'cancel --help']); // those stand with `jobs`
  });
});
