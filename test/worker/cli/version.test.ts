import assert from 'node:assert/strict';
import { CliError } from '../../../worker/cli/cli-error.ts';
import { ControlClient } from '../../../worker/cli/control-client.ts';
import { ownVersion, versionCommand } from '../../../worker/cli/version.ts';

describe('ctr-starlight version, when the daemon cannot be asked', () => {
  class Unreachable extends ControlClient {
    readonly #error: Error;
    constructor(error: Error) {
      super('/s');
      this.#error = error;
    }
    override get(): Promise<never> {
      return Promise.reject(this.#error);
    }
  }

  async function version(error: Error): Promise<string> {
    let printed = '';
    const command = versionCommand(() => ({
      terminal: {
        ...{ json: false, interactive: false, columns: 80, err: () => undefined },
        out: (text) => {
          printed += text;
        },
      },
      daemon: new Unreachable(error),
      signal: new AbortController().signal,
    }));
    await command.parseAsync([], { from: 'user' });
    return printed;
  }

  const rows: readonly (readonly [string, string])[] = [
    ['daemon-unreachable', 'not running (/s)'],
    ['denied', 'only root may ask it (/s)'],
  ];
  for (const [code, words] of rows) {
    it(`${code}: tells its own`, async () => {
      const expected = `ctr-starlight    ${ownVersion()}\nstarlight-daemon ${words}\n`;
      assert.equal(await version(new CliError(code, 'no')), expected);
    });
  }

  it('passes other failures on', () => assert.rejects(version(new CliError('daemon-failed', 'no')), /no/));
});
