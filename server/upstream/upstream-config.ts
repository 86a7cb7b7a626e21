import { type Static, Type } from '@sinclair/typebox';
import { Ms } from '../../schemas/config/setting.ts';
import { HOST_PATTERN } from '../../schemas/oci/host.ts';

const File = (description: string) => Type.Optional(Type.String({ minLength: 1, description }));
const Flag = (fallback: boolean, description: string) => Type.Boolean({ default: fallback, description });

const Url = (description: string) =>
  Type.String({
    pattern: '^https?://[^/?#@]+/?$',
    expected: 'a URL: http:// or https://, a host, perhaps a port, no path',
    description,
  });

/** How an upstream is spoken to: the same of the short form and of each entry of the list. */
const SETTINGS = {
  plainHttp: Flag(false, 'Allow plain HTTP to a host other than this machine: passwords go in the clear.'),
  caFile: File('A PEM file of certificates to trust for it, beside the public ones that Node brings.'),
  clientCertFile: File('A PEM file with the certificate that the proxy presents to it.'),
  clientKeyFile: File('A PEM file with the key of clientCertFile.'),
  insecureSkipVerify: Flag(false, 'Do not verify its certificate: anybody in between can pose as it.'),
  username: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 1024,
      pattern: '^[^:]*$',
      expected: 'a name without a colon',
      description:
        "The proxy's own name there; with it the callers' credentials are not passed on. <token>: passwordFile holds an identity token.",
    }),
  ),
  passwordFile: File('A file with the password of username, read anew whenever it is needed.'),
  tokenFile: File('A file with a bearer token that the proxy presents as it is, instead of a username.'),
  passCredentials: Flag(
    true,
    "Pass the callers' credentials on; false asks anonymously. Without effect where the proxy has its own.",
  ),
  connectTimeoutMs: Ms(2_000, 'How long connecting to it may take.'),
  readTimeoutMs: Ms(
    2_000,
    'How long a request waits for an answer, once it is sent, while nothing at all is heard from it, on any connection: then it is taken for dead. For a write it is asked something else meanwhile. Its token service has as long. A client that waits longer fails altogether, instead of going on to its next host.',
  ),
  headerTimeoutMs: Ms(
    20_000,
    'How long the header of any other answer may take, from the end of the request on.',
  ),
  idleTimeoutMs: Ms(20_000, 'How long a body may stand still, in either direction.'),
  connections: Type.Integer({
    minimum: 1,
    maximum: 4096,
    default: 128,
    description: 'How many requests to it may be under way at once.',
  }),
  requestsPerSecond: Type.Number({
    minimum: 0,
    maximum: 1_000_000,
    default: 0,
    description: 'How many requests a second it is sent at most; 0 for no limit.',
  }),
  waitLimitMs: Ms(
    10_000,
    'How long a request waits for its turn, by connections and requestsPerSecond, before it is answered 429.',
  ),
};

/** The short form: one upstream, for everything that is asked. */
export const UpstreamSchema = Type.Object({
  url: Url('The registry that requests are passed on to: https://registry.example or http://host:port.'),
  namespace: Type.Optional(
    Type.String({
      minLength: 1,
      pattern: HOST_PATTERN,
      expected: 'a host, with or without a port',
      description:
        'The host that clients know it by: a mirror request (?ns=) for another one is refused; without it none is.',
    }),
  ),
  ...SETTINGS,
});

/** One of several upstreams. */
export const UpstreamEntrySchema = Type.Object({
  name: Type.String({
    pattern: '^[a-z0-9](?:[a-z0-9.:-]{0,62})$',
    expected: 'at most 63 lower-case letters, digits, dots, colons and dashes',
    description:
      'What the directory and the logs call it; another name is another registry to the directory.',
  }),
  url: Type.Optional(Url('Where it is: https://registry.example or http://host:port.')),
  embedded: Flag(false, 'The registry embedded in the proxy, in storage.dir, instead of one at a URL.'),
  hosts: Type.Array(Type.String({ pattern: HOST_PATTERN }), {
    expected: 'a list of hosts, with or without a port',
    maxItems: 64,
    default: [],
    description: 'The hosts that clients know it by (?ns=): docker.io, registry.example:5000.',
  }),
  prefix: Type.Optional(
    Type.String({
      maxLength: 128,
      // Its first part has no dot: what has one is a registry's host to whoever reads references.
      pattern: '^(?!localhost(?:/|$))[a-z0-9]+(?:[_-][a-z0-9]+)*(?:/[a-z0-9]+(?:[._-][a-z0-9]+)*)*$',
      expected: 'a path of lower-case names, the first without a dot',
      description: 'Repositories of the proxy below this path are its own: with hub, hub/library/redis.',
    }),
  ),
  default: Flag(false, 'It is asked where neither a host nor a prefix says otherwise.'),
  ...SETTINGS,
});

export const UpstreamsSchema = Type.Array(UpstreamEntrySchema, {
  maxItems: 256,
  default: [],
  description: 'Several upstreams, instead of the one of upstream.*.',
});

export type UpstreamEntry = Static<typeof UpstreamEntrySchema>;

/** How the registry at `url` is spoken to. */
export type UpstreamConfig = Omit<Static<typeof UpstreamSchema>, 'namespace'>;

/** True where the proxy asks with credentials of its own, or with none, and the callers' stay with it. */
export function presentsOwn(config: UpstreamConfig): boolean {
  return hasOwnCredentials(config) || !config.passCredentials;
}

export function hasOwnCredentials(config: UpstreamConfig): boolean {
  return config.username !== undefined || config.tokenFile !== undefined;
}
