import assert from 'node:assert/strict';
import type { Namespace, UpstreamList } from '../../../schemas/upstreams/upstream-list.ts';
import { CliError } from '../../../worker/cli/cli-error.ts';
import { wantedMirrors } from '../../../worker/cli/wanted-mirrors.ts';

const HUB: Namespace = { host: 'docker.io', server: 'https://registry-1.docker.io' };
const LAN: Namespace = { host: 'lan.example:5000', server: 'http://lan.example:5000' };
const DEFAULT = { host: '_default', server: undefined };
const list = (anyHost: boolean, ...namespaces: Namespace[]): UpstreamList => ({
  upstreams: [
    { name: 'one', default: true, anyHost, namespaces },
    { name: 'two', prefix: 'p', default: false, anyHost: false, namespaces: namespaces.slice(0, 1) },
  ],
});
const BOTH = list(false, HUB, LAN);

describe('wantedMirrors()', () => {
  const GOOD: readonly (readonly [
    title: string,
    list: UpstreamList,
    hosts: readonly string[],
    withDefault: boolean,
    expected: readonly object[],
  ])[] = [
    ['all, each once', BOTH, [], false, [HUB, LAN]],
    ['all and the default', BOTH, [], true, [HUB, LAN, DEFAULT]],
    ['one', BOTH, ['lan.example:5000'], false, [LAN]],
    ['one by its other names, once', BOTH, ['index.docker.io', 'Docker.io'], false, [HUB]],
    ['one and the default', BOTH, ['docker.io'], true, [HUB, DEFAULT]],
    ['the default alone', list(false), [], true, [DEFAULT]],
    [
      'any that is named, where every host is answered for',
      list(true),
      ['a.example'],
      false,
      [{ host: 'a.example', server: 'https://a.example' }],
    ],
  ];
  for (const [title, upstreams, hosts, withDefault, expected] of GOOD) {
    it(`chooses ${title}`, () =>
      assert.deepEqual(wantedMirrors(upstreams, { hosts, withDefault }), expected));
  }

  const BAD: readonly (readonly [
    title: string,
    list: UpstreamList,
    hosts: readonly string[],
    code: string,
    text: RegExp,
  ])[] = [
    ['a host that is not served', BOTH, ['ghcr.io'], 'not-served', /it serves docker\.io, lan\.example:5000/],
    ['another port', BOTH, ['lan.example'], 'not-served', /lan\.example:5000/],
    ['a host where none is', list(false), ['ghcr.io'], 'not-served', /give its upstreams hosts/],
    ['none where none is', list(false), [], 'no-hosts', /give its upstreams hosts/],
    ['none where all are', list(true), [], 'no-hosts', /name those .*--default/],
    ['a URL', BOTH, ['https://docker.io'], 'invalid-host', /without a scheme/],
    ['a path', list(true), ['../etc'], 'invalid-host', /without a scheme/],
    ['a path below', list(true), ['a/b'], 'invalid-host', /without a scheme/],
    ['dots', list(true), ['..'], 'invalid-host', /without a scheme/],
    ['the default as a host', list(true), ['_default'], 'invalid-host', /without a scheme/],
    ['nothing as a host', list(true), [''], 'invalid-host', /without a scheme/],
    ['a line more', list(true), ['a.example\n'], 'invalid-host', /without a scheme/],
    [
      'a registry in place of another',
      list(false, HUB, { host: 'ghcr.io', server: 'https://evil.example' }),
      [],
      'proxy-failed',
      /evil\.example as the registry of ghcr\.io/,
    ],
  ];
  for (const [title, upstreams, hosts, code, text] of BAD) {
    it(`refuses ${title}`, () =>
      assert.throws(
        () => wantedMirrors(upstreams, { hosts, withDefault: false }),
        (error) => {
          assert.ok(error instanceof CliError);
          assert.equal(error.code, code);
          assert.match(`${error.message} ${error.hint}`, text);
          return true;
        },
      ));
  }
});
