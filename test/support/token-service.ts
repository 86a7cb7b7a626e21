import { X509Certificate, sign } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../scripts/lib/child.ts';
import { parseBasicAuthorization } from '../../schemas/registry-auth/credentials.ts';
import { ScriptedServer } from './scripted-server.ts';

export interface TokenUser {
  readonly password: string;
  /** Exchanged for tokens as the password is (OAuth 2, grant `refresh_token`). */
  readonly identityToken?: string;
  /** What may be done, by the repository's name. */
  readonly grants: Readonly<Record<string, readonly string[]>>;
}

export interface TokenServiceOptions {
  readonly directory: string;
  /** By name; the empty one is whoever has no login. */
  readonly users: Readonly<Record<string, TokenUser>>;
  readonly lifetimeS?: number;
}

interface Question {
  readonly user: string;
  readonly method: string;
  readonly scopes: readonly string[];
}

interface Access {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

const ISSUER = 'test-issuer';
const SERVICE = 'test-registry';

/**
 * A token service as the distribution project specifies it, small but real: a docker-registry that is given
 * `registryAuth` believes the tokens that this one signs, and no others.
 */
export class TokenService implements AsyncDisposable {
  readonly #server: ScriptedServer;
  readonly #certFile: string;
  /** Of every token that was given out: to whom and for what. */
  readonly given: Question[] = [];
  /** How many questions were refused. */
  refused = 0;

  private constructor(server: ScriptedServer, certFile: string) {
    this.#server = server;
    this.#certFile = certFile;
  }

  static async start({ directory, users, lifetimeS = 300 }: TokenServiceOptions): Promise<TokenService> {
    const keyFile = join(directory, 'token-key.pem');
    const certFile = join(directory, 'token-cert.pem');
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
    await run('openssl', [
      ...['req', '-x509', ...curve, '-nodes', '-days', '2', '-subj', '/CN=token service'],
      ...['-keyout', keyFile, '-out', certFile],
    ]);
    const key = await readFile(keyFile, 'utf8');
    const chain = [new X509Certificate(await readFile(certFile)).raw.toString('base64')];
    const service: TokenService = new TokenService(
      await ScriptedServer.start(async (request, response) => {
        const url = new URL(request.url ?? '', 'http://x');
        const form = new URLSearchParams(request.method === 'POST' ? await text(request) : url.search);
        const user = userOf(
          users,
          request.method === 'POST' ? form : undefined,
          request.headers.authorization,
        );
        if (user === undefined || form.get('service') !== SERVICE) {
          service.refused += 1;
          response.writeHead(401, { 'Content-Type': 'application/json' });
          return void response.end('{"details":"incorrect username or password"}');
        }
        const scopes = form.getAll('scope').flatMap((scope) => scope.split(' ').filter(Boolean));
        service.given.push({ user, method: request.method ?? '', scopes });
        const token = signed(key, chain, user, granted(users[user], scopes), lifetimeS);
        const issued_at = new Date().toISOString();
        response.writeHead(200, { 'Content-Type': 'application/json' });
        return void response.end(
          JSON.stringify({ token, access_token: token, expires_in: lifetimeS, issued_at }),
        );
      }),
      certFile,
    );
    return service;
  }

  /** For the configuration of a docker-registry. */
  get registryAuth(): string {
    const realm = `${this.#server.url}/token`;
    return `auth: { token: { realm: "${realm}", service: ${SERVICE}, issuer: ${ISSUER}, rootcertbundle: ${this.#certFile} } }`;
  }

  get url(): string {
    return `${this.#server.url}/token?service=${SERVICE}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }
}

async function text(body: AsyncIterable<Uint8Array>): Promise<string> {
  return Buffer.concat(await Array.fromAsync(body)).toString();
}

/** undefined where the login is wrong. */
function userOf(
  users: TokenServiceOptions['users'],
  form: URLSearchParams | undefined,
  authorization: string | undefined,
): string | undefined {
  if (form !== undefined) {
    if (form.get('grant_type') !== 'refresh_token') return undefined;
    const token = form.get('refresh_token');
    return Object.entries(users).find(([, user]) => user.identityToken === token)?.[0];
  }
  if (authorization === undefined) return users[''] === undefined ? undefined : '';
  const login = parseBasicAuthorization(authorization);
  return login !== undefined && users[login.username]?.password === login.password
    ? login.username
    : undefined;
}

function granted(user: TokenUser | undefined, scopes: readonly string[]): Access[] {
  return scopes.flatMap((scope) => {
    const [type = '', name = '', actions = ''] = scope.split(':');
    const allowed = actions.split(',').filter((action) => user?.grants[name]?.includes(action) === true);
    return allowed.length === 0 ? [] : [{ type, name, actions: allowed }];
  });
}

/** A JSON Web Token (RFC 7519) as docker-registry wants it: its key in a certificate that the registry trusts. */
function signed(
  key: string,
  chain: readonly string[],
  subject: string,
  access: readonly Access[],
  lifetimeS: number,
): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const nowS = Math.floor(Date.now() / 1000);
  const claims = {
    iss: ISSUER,
    sub: subject,
    aud: SERVICE,
    exp: nowS + lifetimeS,
    nbf: nowS - 5,
    iat: nowS,
    jti: `${Math.random()}`,
    access,
  };
  const content = `${part({ typ: 'JWT', alg: 'ES256', x5c: chain })}.${part(claims)}`;
  const signature = sign('sha256', Buffer.from(content), { key, dsaEncoding: 'ieee-p1363' });
  return `${content}.${signature.toString('base64url')}`;
}
