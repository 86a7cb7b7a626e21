import type { Login } from '../../schemas/registry-auth/credentials.ts';
import type { TokenScope } from '../../schemas/registry-auth/registry-auth.ts';

/** Which registry behind the proxy, which of its repositories, and whose credentials it is asked with. */
export type AuthScope = {
  /** Empty for the proxy's default registry. */
  readonly host: string;
  readonly repository: string;
  readonly credentials: () => Promise<Login | undefined>;
};

/** What a worker wants of a repository is to pull. */
export function tokenScope({ host, repository, credentials }: AuthScope): TokenScope {
  return { host, access: `repository:${repository}:pull`, credentials };
}
