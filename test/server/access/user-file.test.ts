import assert from 'node:assert/strict';
import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HtpasswdError } from '../../../server/access/htpasswd.ts';
import { UserFile, type UserFileOptions } from '../../../server/access/user-file.ts';
import { OPEN_SESAME } from '../../support/open-sesame.ts';

type Outcome = Parameters<UserFileOptions['onReload']>[0];

describe('UserFile', () => {
  let directory: string;
  let file: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'starlight-users-'));
    file = join(directory, 'htpasswd');
    await writeFile(file, `ann:${OPEN_SESAME}\n`);
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  /** Opens the file; each call of `next` waits for what comes of the next change that is seen. */
  async function open(pollMs: number) {
    const outcomes: Outcome[] = [];
    let told = () => undefined as undefined;
    const users = await UserFile.open({
      file,
      pollMs,
      onReload: (outcome) => {
        outcomes.push(outcome);
        told();
      },
    });
    const next = async (): Promise<Outcome> => {
      for (;;) {
        const outcome = outcomes.shift();
        if (outcome !== undefined) return outcome;
        await new Promise<void>((resolve) => {
          told = () => void resolve();
        });
      }
    };
    return { users, next };
  }

  it('sees a file that is replaced', async () => {
    const { users, next } = await open(5);
    await using _ = users;
    assert.deepEqual([...users.users.keys()], ['ann']);
    await writeFile(`${file}.new`, `ann:${OPEN_SESAME}\nbob:${OPEN_SESAME}\n`);
    await rename(`${file}.new`, file);
    assert.deepEqual(await next(), { users: 2 });
    assert.deepEqual([...users.users.keys()], ['ann', 'bob']);
  });

  it('sees a symlink that leads elsewhere, as secrets are mounted in Kubernetes', async () => {
    const [first, second] = [join(directory, 'first'), join(directory, 'second')];
    await rename(file, first);
    await symlink(first, file);
    const { users, next } = await open(5);
    await using _ = users;
    await writeFile(second, `bob:${OPEN_SESAME}\n`);
    await symlink(second, `${file}.new`);
    await rename(`${file}.new`, file);
    assert.deepEqual(await next(), { users: 1 });
    assert.deepEqual([...users.users.keys()], ['bob']);
  });

  it('keeps the users when the file becomes faulty, and goes on when it is good again', async () => {
    const { users, next } = await open(5);
    await using _ = users;
    await writeFile(`${file}.new`, 'ann:hunter2\n');
    await rename(`${file}.new`, file);
    const outcome = await next();
    assert.ok('error' in outcome && outcome.error instanceof HtpasswdError);
    assert.deepEqual([...users.users.keys()], ['ann']);
    await rm(file);
    assert.ok('error' in (await next()));
    assert.deepEqual([...users.users.keys()], ['ann']);
    await writeFile(`${file}.new`, '');
    await rename(`${file}.new`, file);
    assert.deepEqual(await next(), { users: 0 });
  });

  it('reads again when it is told to, changed or not', async () => {
    const { users, next } = await open(86_400_000);
    await using _ = users;
    await users.reload();
    assert.deepEqual(await next(), { users: 1 });
  });

  it('is not opened where it is missing', async () => {
    await rm(file);
    await assert.rejects(
      UserFile.open({ file, onReload: () => undefined }),
      /access\.htpasswdFile: .*ENOENT/,
    );
  });
});
