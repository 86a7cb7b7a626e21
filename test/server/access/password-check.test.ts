import assert from 'node:assert/strict';
import { AccessError } from '../../../server/access/access-error.ts';
import { Bcrypt } from '../../../server/access/bcrypt.ts';
import { PasswordCheck } from '../../../server/access/password-check.ts';
import { OPEN_SESAME } from '../../support/open-sesame.ts';

const HASH = `$2y$05$${'a'.repeat(53)}`;
const USERS = new Map([
  ['ann', HASH],
  ['bob', HASH.replace('05', '06')],
]);

/** Checks on which the clock and the comparing are in the test's hands: "right" is the only right password. */
class Home {
  nowMs = 0;
  readonly asked: string[] = [];
  #held: (() => void)[] | undefined;
  readonly passwords = new PasswordCheck({
    nowMs: () => this.nowMs,
    compare: async ({ password, hash }) => {
      this.asked.push(`${password} ${hash.slice(0, 7)}`);
      if (this.#held !== undefined) await new Promise<void>((resolve) => this.#held?.push(resolve));
      return password === 'right';
    },
  });

  hold(): void {
    this.#held = [];
  }

  async release(): Promise<void> {
    for (let idle = 0; idle < 10; idle += 1) {
      await new Promise(setImmediate);
      const held = this.#held?.splice(0) ?? [];
      if (held.length > 0) idle = 0;
      for (const go of held) go();
    }
    this.#held = undefined;
  }
}

const isBusy = (error: unknown): boolean => error instanceof AccessError && error.fault.kind === 'login-busy';

describe('PasswordCheck', () => {
  it('compares once, and remembers for a while', async () => {
    const { passwords, asked } = new Home();
    assert.equal(await passwords.check(USERS, 'ann', 'right'), true);
    assert.equal(await passwords.check(USERS, 'ann', 'right'), true);
    assert.equal(await passwords.check(USERS, 'ann', 'wrong'), false);
    assert.equal(await passwords.check(USERS, 'ann', 'wrong'), false);
    assert.deepEqual(asked, ['right $2y$05$', 'wrong $2y$05$']);
  });

  it('compares again when that while is over', async () => {
    const home = new Home();
    await home.passwords.check(USERS, 'ann', 'right');
    home.nowMs = 300_001;
    assert.equal(await home.passwords.check(USERS, 'ann', 'right'), true);
    assert.equal(home.asked.length, 2);
  });

  it('remembers nothing of a user who is gone or has another password', async () => {
    const { passwords, asked } = new Home();
    await passwords.check(USERS, 'ann', 'right');
    assert.equal(await passwords.check(new Map(), 'ann', 'right'), false);
    await passwords.check(new Map([['ann', `$2y$05$${'b'.repeat(53)}`]]), 'ann', 'right');
    assert.equal(asked.length, 3);
  });

  it('compares for a name that is no user as long as for one that is, and never lets it in', async () => {
    const { passwords, asked } = new Home();
    assert.equal(await passwords.check(USERS, 'eve', 'right'), false);
    assert.deepEqual(asked, ['right $2y$05$']);
  });

  it('does not take one user for another', async () => {
    const { passwords, asked } = new Home();
    await passwords.check(USERS, 'ann', 'right');
    await passwords.check(USERS, 'bob', 'right');
    assert.deepEqual(asked, ['right $2y$05$', 'right $2y$06$']);
  });

  for (const [what, password] of [
    ['with a NUL', 'right\0more'],
    ['without end', 'a'.repeat(5000)],
  ] as const) {
    it(`compares no password ${what}`, async () => {
      const { passwords, asked } = new Home();
      assert.equal(await passwords.check(USERS, 'ann', password), false);
      assert.deepEqual(asked, []);
    });
  }

  it('compares the same at once but once', async () => {
    const home = new Home();
    home.hold();
    const all = [1, 2, 3].map(() => home.passwords.check(USERS, 'ann', 'right'));
    await home.release();
    assert.deepEqual(await Promise.all(all), [true, true, true]);
    assert.equal(home.asked.length, 1);
  });

  it('refuses a flood of wrong passwords for one user, and still lets the next user in', async () => {
    const home = new Home();
    home.hold();
    const flood = Array.from({ length: 1000 }, (_, row) =>
      home.passwords.check(USERS, 'ann', `wrong ${row}`),
    );
    const outcomes = Promise.allSettled(flood);
    const bob = home.passwords.check(USERS, 'bob', 'right');
    await home.release();
    assert.equal(await bob, true);
    // One is compared while eight wait; bob's turn comes next, not last.
    assert.ok(home.asked.indexOf('right $2y$06$') <= 2, home.asked.join());
    assert.equal(home.asked.length, 10);
    const refused = (await outcomes).filter((one) => one.status === 'rejected' && isBusy(one.reason));
    assert.equal(refused.length, 991);
  });

  it('refuses a flood of names that are no users', async () => {
    const home = new Home();
    home.hold();
    const flood = Array.from({ length: 1000 }, (_, row) => home.passwords.check(USERS, `nobody ${row}`, 'x'));
    const outcomes = Promise.allSettled(flood);
    const ann = home.passwords.check(USERS, 'ann', 'right');
    await home.release();
    assert.equal(await ann, true);
    assert.ok(home.asked.length <= 10, `${home.asked.length}`);
    assert.ok((await outcomes).some((one) => one.status === 'rejected' && isBusy(one.reason)));
  });
});

describe('Bcrypt', () => {
  const CASES: readonly (readonly [password: string, hash: string, good: boolean])[] = [
    ['open sesame', OPEN_SESAME, true],
    ['open sesame', OPEN_SESAME.replace('2y', '2b'), true],
    ['Open sesame', OPEN_SESAME, false],
    ['', OPEN_SESAME, false],
    // Also by crypt(3): UTF-8.
    ['über:gut', '$2y$05$abcdefghijklmnopqrstuu6td/RVcCmG0yfGAHSFWv32mvBk/5kEy', true],
  ];
  for (const [password, hash, good] of CASES) {
    it(`finds ${JSON.stringify(password)} ${good ? 'right' : 'wrong'}`, async () => {
      await using bcrypt = new Bcrypt();
      assert.equal(await bcrypt.compare({ password, hash }), good);
    });
  }

  it('answers each of several at once', async () => {
    await using bcrypt = new Bcrypt();
    const all = await Promise.all(CASES.map(([password, hash]) => bcrypt.compare({ password, hash })));
    assert.deepEqual(
      all,
      CASES.map(([, , good]) => good),
    );
  });

  it('fails those who wait when it is ended', async () => {
    const bcrypt = new Bcrypt();
    const asked = bcrypt.compare({ password: 'x', hash: OPEN_SESAME.replace('$05', '$14') });
    const failed = assert.rejects(asked, /has ended/);
    await bcrypt[Symbol.asyncDispose]();
    await failed;
  });
});
