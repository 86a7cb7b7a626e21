import assert from 'node:assert/strict';
import { type HostsToml, hostDirectories, hostsToml, tomlString } from '../../../worker/cli/hosts-toml.ts';

const MIRROR = 'http://proxy.example:8090';

describe('hostsToml()', () => {
  const CASES: readonly (readonly [title: string, file: HostsToml, text: string])[] = [
    [
      'a host',
      { server: 'https://registry-1.docker.io', mirror: MIRROR },
      `server = "https://registry-1.docker.io"

[host."http://proxy.example:8090"]
  capabilities = ["pull", "resolve"]
  dial_timeout = "2s"
`,
    ],
    [
      'all other hosts, without a server',
      { server: undefined, mirror: MIRROR },
      `[host."http://proxy.example:8090"]
  capabilities = ["pull", "resolve"]
  dial_timeout = "2s"
`,
    ],
    [
      'a mirror by HTTPS',
      {
        server: 'https://ghcr.io',
        mirror: 'https://proxy.example',
        caFile: '/etc/a "b"/ca.pem',
        client: { certFile: '/etc/c.pem', keyFile: '/etc/k.pem' },
      },
      `server = "https://ghcr.io"

[host."https://proxy.example"]
  capabilities = ["pull", "resolve"]
  dial_timeout = "2s"
  ca = "/etc/a \\"b\\"/ca.pem"
  client = [["/etc/c.pem", "/etc/k.pem"]]
`,
    ],
  ];
  for (const [title, file, text] of CASES) {
    it(`renders ${title}`, () => assert.equal(hostsToml(file), text));
  }
});

describe('tomlString()', () => {
  const CASES: readonly (readonly [text: string, expected: string])[] = [
    ['', '""'],
    ['häuser', '"häuser"'],
    ['"', String.raw`"\""`],
    ['\\', String.raw`"\\"`],
    ['a\nb = "c"', String.raw`"a\u000ab = \"c\""`],
    ['\u0000\u007f\u0085', String.raw`"\u0000\u007f\u0085"`],
  ];
  for (const [text, expected] of CASES) {
    it(`writes ${JSON.stringify(text)} as ${expected}`, () => assert.equal(tomlString(text), expected));
  }
});

describe('hostDirectories()', () => {
  const CASES: readonly (readonly [host: string, directories: readonly string[]])[] = [
    ['docker.io', ['docker.io']],
    ['registry.example:5000', ['registry.example_5000_', 'registry.example:5000']],
    ['[::1]:5000', ['[::1]_5000_', '[::1]:5000']],
  ];
  for (const [host, directories] of CASES) {
    it(`${host}: ${directories.join(', ')}`, () => assert.deepEqual(hostDirectories(host), directories));
  }
});
