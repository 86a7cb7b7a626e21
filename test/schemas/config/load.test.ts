import assert from 'node:assert/strict';
import { Type } from '@sinclair/typebox';
import { loadConfig } from '../../../schemas/config/load.ts';
import { redactConfig } from '../../../schemas/config/redact.ts';

const schema = Type.Object({
  listen: Type.Object({
    host: Type.String({ default: '127.0.0.1', description: 'Where to listen.' }),
    port: Type.Integer({ minimum: 0, maximum: 65535, default: 8090, description: 'The port.' }),
  }),
  verbose: Type.Boolean({ default: false }),
  level: Type.Union([Type.Literal('info'), Type.Literal('debug')], { default: 'info' }),
  origins: Type.Array(Type.String({ minLength: 2 }), { default: [] }),
  token: Type.Optional(Type.String({ secret: true, minLength: 8 })),
  name: Type.Optional(Type.String({ pattern: '^[a-z]+$', expected: 'lower-case letters' })),
  upstream: Type.Optional(
    Type.Object({
      url: Type.String({ pattern: '^https?://', secret: 'url' }),
      caFile: Type.Optional(Type.String()),
      retries: Type.Integer({ default: 2 }),
    }),
  ),
});

interface Input {
  readonly file?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly argv?: readonly string[];
}

function load({ file, env = {}, argv = [] }: Input) {
  return loadConfig({
    name: 'prog',
    summary: 'Does things.',
    version: '1.2.3',
    envPrefix: 'PROG',
    schema,
    argv: file === undefined ? argv : ['--config', 'c.yaml', ...argv],
    env: { HOME: '/root', ...env },
    readFile: (path) => {
      if (path !== 'c.yaml' || file === undefined) throw new Error('ENOENT: no such file');
      return file;
    },
    check: (value) => (value.listen.port === 1 ? ['port 1 is taken'] : []),
  });
}

const DEFAULTS = { listen: { host: '127.0.0.1', port: 8090 }, verbose: false, level: 'info', origins: [] };

const GOOD: readonly (readonly [string, Input, unknown])[] = [
  ['defaults alone', {}, DEFAULTS],
  [
    'a file over defaults',
    { file: 'listen:\n  port: 1000\n' },
    { ...DEFAULTS, listen: { host: '127.0.0.1', port: 1000 } },
  ],
  [
    'a file in JSON',
    { file: '{"level":"debug","origins":["aa","bb"]}' },
    { ...DEFAULTS, level: 'debug', origins: ['aa', 'bb'] },
  ],
  ['an empty file', { file: '' }, DEFAULTS],
  ['a key without a value', { file: 'listen:\nupstream:\nverbose:\n' }, DEFAULTS],
  [
    'env over file',
    { file: 'listen: {port: 1000}', env: { PROG_LISTEN_PORT: '2000' } },
    { ...DEFAULTS, listen: { host: '127.0.0.1', port: 2000 } },
  ],
  [
    'a flag over env and file',
    { file: 'listen: {port: 1000}', env: { PROG_LISTEN_PORT: '2000' }, argv: ['--listen-port', '3000'] },
    { ...DEFAULTS, listen: { host: '127.0.0.1', port: 3000 } },
  ],
  ['an empty variable', { env: { PROG_LISTEN_PORT: '' } }, DEFAULTS],
  [
    'the variables of a Kubernetes service',
    {
      env: {
        PROG_SERVICE_HOST: '10.0.0.1',
        PROG_SERVICE_PORT_HTTP: '80',
        PROG_PORT: 'tcp://10.0.0.1:80',
        PROG_PORT_80_TCP_ADDR: '10.0.0.1',
      },
    },
    DEFAULTS,
  ],
  [
    '--flag=value with an equals sign in it',
    { argv: ['--listen-host=a=b'] },
    { ...DEFAULTS, listen: { host: 'a=b', port: 8090 } },
  ],
  ['a switch', { argv: ['--verbose'] }, { ...DEFAULTS, verbose: true }],
  ['a negated switch', { env: { PROG_VERBOSE: '1' }, argv: ['--no-verbose'] }, DEFAULTS],
  ['a switch with a value', { argv: ['--verbose=true'] }, { ...DEFAULTS, verbose: true }],
  [
    'a list, repeated and with commas',
    { argv: ['--origins', 'aa, bb', '--origins=cc'] },
    { ...DEFAULTS, origins: ['aa', 'bb', 'cc'] },
  ],
  [
    'an optional group by one variable, its own defaults filled in',
    { env: { PROG_UPSTREAM_URL: 'http://h' } },
    { ...DEFAULTS, upstream: { url: 'http://h', retries: 2 } },
  ],
  [
    'camel case in flags',
    { argv: ['--upstream-ca-file', '/ca', '--upstream-url', 'https://h'] },
    { ...DEFAULTS, upstream: { url: 'https://h', caFile: '/ca', retries: 2 } },
  ],
];

const BAD: readonly (readonly [string, Input, readonly RegExp[]])[] = [
  ['an unknown key in the file', { file: 'listne: {port: 1}' }, [/^listne in c\.yaml: unknown key$/]],
  ['an unknown nested key', { file: 'listen: {prot: 1}' }, [/^listen\.prot in c\.yaml: unknown key$/]],
  [
    'a text for a number in the file',
    { file: 'listen: {port: "80"}' },
    [/^listen\.port in c\.yaml: expected an integer from 0 to 65535, got "80"$/],
  ],
  ['a value for a group', { file: 'listen: 5' }, [/^listen in c\.yaml: expected a mapping$/]],
  ['a list for the whole file', { file: '- 1' }, [/not a mapping/]],
  ['broken YAML', { file: 'a: [1' }, [/^c\.yaml: /]],
  ['a key twice', { file: 'verbose: true\nverbose: false\n' }, [/^c\.yaml: Map keys must be unique/]],
  [
    'too many aliases',
    {
      file: `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [${'*a,'.repeat(9)}]\nc: &c [${'*b,'.repeat(9)}]\nd: [${'*c,'.repeat(9)}]\n`,
    },
    [/^c\.yaml: .*alias/],
  ],
  ['a file too large', { file: `#${'x'.repeat(1 << 20)}` }, [/larger than 1 MiB/]],
  ['a file that is not there', { argv: ['--config', 'nope.yaml'] }, [/^nope\.yaml: cannot be read: ENOENT/]],
  [
    'a file that is not there, by the environment',
    { env: { PROG_CONFIG: 'nope.yaml' } },
    [/^nope\.yaml: cannot be read/],
  ],
  [
    'an unknown variable',
    { env: { PROG_LISTEN_PROT: '1' } },
    [/^PROG_LISTEN_PROT: unknown environment variable$/],
  ],
  [
    'a bad number in a variable',
    { env: { PROG_LISTEN_PORT: '80x' } },
    [/^PROG_LISTEN_PORT: expected an integer .*, got "80x"$/],
  ],
  [
    'a number out of range',
    { argv: ['--listen-port', '65536'] },
    [/^--listen-port: expected an integer from 0 to 65535, got 65536$/],
  ],
  ['a fraction for an integer', { argv: ['--listen-port', '1.5'] }, [/^--listen-port: /]],
  [
    'an unknown choice',
    { env: { PROG_LEVEL: 'loud' } },
    [/^PROG_LEVEL: expected one of info, debug, got "loud"$/],
  ],
  [
    'a switch that is neither true nor false',
    { argv: ['--verbose=maybe'] },
    [/^--verbose: expected true or false, got "maybe"$/],
  ],
  ['an unknown flag', { argv: ['--port', '1'] }, [/^--port: unknown flag$/, /^1: unexpected argument$/]],
  ['a single dash', { argv: ['-p'] }, [/^-p: unknown flag$/]],
  ['a negated flag that is no switch', { argv: ['--no-level'] }, [/^--no-level: unknown flag$/]],
  ['a stray argument', { argv: ['serve'] }, [/^serve: unexpected argument$/]],
  ['a flag without its value', { argv: ['--listen-port'] }, [/^--listen-port: needs a value$/]],
  ['a flag followed by a flag', { argv: ['--listen-port', '--verbose'] }, [/^--listen-port: needs a value$/]],
  [
    'a flag twice',
    { argv: ['--listen-port', '3', '--listen-port', '2'] },
    [/^--listen-port: given more than once$/],
  ],
  [
    'an element of a list',
    { argv: ['--origins', 'aa,b'] },
    [/^--origins: expected a list of texts, got \["aa","b"\] \(at \/1: /],
  ],
  [
    'a required value of an optional group',
    { env: { PROG_UPSTREAM_RETRIES: '1' } },
    [/^upstream\.url: missing \(set it in the file, as PROG_UPSTREAM_URL or as --upstream-url\)$/],
  ],
  [
    'a faulty value that is overridden',
    { env: { PROG_LISTEN_PORT: 'x' }, argv: ['--listen-port', '1000'] },
    [/^PROG_LISTEN_PORT: /],
  ],
  [
    'a secret that is too short, without printing it',
    { env: { PROG_TOKEN: 'hunter2' } },
    [/^PROG_TOKEN: expected a text of at least 8 characters, got \[redacted\]$/],
  ],
  [
    'what the schema says in words',
    { argv: ['--name', 'A'] },
    [/^--name: expected lower-case letters, got "A"$/],
  ],
  [
    'a rule across values, beside names that nobody knows',
    { file: 'x: 1', env: { PROG_Y: '1' }, argv: ['--listen-port', '1', '--z'] },
    [/^x in/, /^PROG_Y: /, /^--z: /, /^port 1 is taken$/],
  ],
  [
    'a value, and asks no rule that it may have broken',
    { argv: ['--listen-port', '1', '--name', 'A'] },
    [/^--name: /],
  ],
  ['a rule across values', { argv: ['--listen-port', '1'] }, [/^port 1 is taken$/]],
  [
    'everything at once',
    {
      file: 'x: 1\nlisten: {port: -1}',
      env: { PROG_Y: '1', PROG_LEVEL: 'loud' },
      argv: ['--z', '--verbose=2'],
    },
    [/^x in/, /^PROG_Y: /, /^--z: /, /^listen\.port in c\.yaml: /, /^PROG_LEVEL: /, /^--verbose: /],
  ],
];

describe('loadConfig()', () => {
  for (const [title, input, expected] of GOOD) {
    it(`takes ${title}`, () => assert.deepEqual(load(input), { kind: 'config', value: expected }));
  }
  for (const [title, input, patterns] of BAD) {
    it(`refuses ${title}`, () => {
      const loaded = load(input);
      assert.equal(loaded.kind, 'faults');
      const faults = loaded.kind === 'faults' ? loaded.faults : [];
      assert.equal(faults.length, patterns.length, faults.join('\n'));
      for (const [at, pattern] of patterns.entries()) assert.match(faults[at] ?? '', pattern);
    });
  }
  it('prints help from the schema, even where something else is wrong', () => {
    const loaded = load({ argv: ['--help', '--bogus'] });
    assert.equal(loaded.kind, 'help');
    const text = loaded.kind === 'help' ? loaded.text : '';
    for (const part of [
      'Usage: prog',
      'Does things.',
      '--listen-port N',
      'The port.',
      'default 8090',
      '[env PROG_LISTEN_PORT]',
      '(listen.port)',
      'required where anything of upstream is set',
    ]) {
      assert.ok(text.includes(part), part);
    }
  });
  it('prints the version', () => {
    assert.deepEqual(load({ argv: ['-V'] }), { kind: 'version', text: 'prog 1.2.3\n' });
  });
  it('refuses a schema in which two paths share a flag', () => {
    const clash = Type.Object({ aB: Type.String(), a: Type.Object({ b: Type.String() }) });
    assert.throws(
      () => loadConfig({ name: 'p', envPrefix: 'P', schema: clash, argv: [], env: {}, readFile: String }),
      TypeError,
    );
  });
});

describe('redactConfig()', () => {
  it('hides secrets and the credentials in URLs, and changes nothing else', () => {
    const value = {
      token: 'abcdefgh',
      upstream: { url: 'http://u:p@h/x?token=1', retries: 1 },
      level: 'info',
    };
    assert.deepEqual(redactConfig(schema, value), {
      token: '[redacted]',
      upstream: { url: 'http://u:redacted@h/x?redacted', retries: 1 },
      level: 'info',
    });
    assert.equal(value.token, 'abcdefgh');
  });
  it('copes with absent groups', () => assert.deepEqual(redactConfig(schema, {}), {}));
});
