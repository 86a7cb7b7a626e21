import { type CredentialSource, parseUserPassword } from '../../schemas/registry-auth/credentials.ts';
import { loginCredentials } from '../../schemas/registry-auth/docker-credentials.ts';
import { CliError } from './cli-error.ts';

/** The logins of `--user user:password`, or without it those of docker or podman. @throws {CliError} */
export function loginOption(user: string | undefined): CredentialSource {
  if (user === undefined) return loginCredentials(process.env);
  const given = parseUserPassword(user);
  if (given === undefined) throw new CliError('invalid-user', '--user must be user:password');
  return () => Promise.resolve(given);
}
