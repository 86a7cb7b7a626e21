import type { RegistryReader } from '../../extensions/starlight/registry-reader.ts';
import { repositoryName } from '../registry/repository-name.ts';
import type { Logger } from '../log.ts';
import type { Registry } from '../registry/registry.ts';
import { Bcrypt } from './bcrypt.ts';
import { type AccessConfig, isGuarded } from './config.ts';
import { Gate } from './gate.ts';
import { GuardedReader } from './guarded-reader.ts';
import { GuardedRegistry } from './guarded-registry.ts';
import { PasswordCheck } from './password-check.ts';
import { Rights } from './rights.ts';
import { UserFile } from './user-file.ts';

/** The access control of a registry of our own, ready to be put around it. */
export interface Access extends AsyncDisposable {
  readonly registry: (registry: Registry) => Registry;
  readonly reader: (reader: RegistryReader) => RegistryReader;
  /** That a caller may know of the extensions: of a repository, or at all. @throws {AccessError} */
  readonly mayDiscover: (name: string | undefined, authorization: string | undefined) => Promise<void>;
  /** Reads the users again, changed or not. */
  readonly reload: () => Promise<void>;
}

/**
 * What the configuration asks for; undefined where nobody is kept from anything.
 * @throws {HtpasswdError} where the file of users cannot be used.
 */
export async function openAccess(config: AccessConfig, logger: Logger): Promise<Access | undefined> {
  if (!isGuarded(config)) return undefined;
  const { htpasswdFile: file, realm, askFirst } = config;
  const onReload = (outcome: { readonly users: number } | { readonly error: unknown }) => {
    if ('users' in outcome) logger.info({ file, users: outcome.users }, 'users read again');
    else logger.error({ err: outcome.error }, 'users not read again: those from before stay');
  };
  const users = file === undefined ? undefined : await UserFile.open({ file, onReload });
  const bcrypt = new Bcrypt();
  const gate = new Gate({
    users: users === undefined ? undefined : () => users.users,
    passwords: new PasswordCheck({
      compare: (question) => bcrypt.compare(question),
      nowMs: () => performance.now(),
    }),
    rights: new Rights(config),
    realm,
    askFirst,
  });
  return {
    registry: (registry) => new GuardedRegistry(registry, gate),
    reader: (reader) => new GuardedReader(reader, gate),
    mayDiscover: async (text, authorization) => {
      const name = text === undefined ? undefined : repositoryName(text);
      const caller = await gate.caller(authorization);
      if (name === undefined) gate.requireEntry(caller);
      else gate.require(caller, name, 'pull');
    },
    reload: async () => await users?.reload(),
    [Symbol.asyncDispose]: async () => {
      await users?.[Symbol.asyncDispose]();
      await bcrypt[Symbol.asyncDispose]();
    },
  };
}
