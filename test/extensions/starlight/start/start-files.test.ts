import assert from 'node:assert/strict';
import { imageProcess } from '../../../../extensions/starlight/image-command.ts';
import { FileReader } from '../../../../extensions/starlight/start/file-reader.ts';
import { START_LIMIT } from '../../../../extensions/starlight/start/limits.ts';
import { startFiles } from '../../../../extensions/starlight/start/start-files.ts';
import { mergeLayers } from '../../../../schemas/toc/merge.ts';
import { type ElfFields, madeElf } from '../../../support/made-elf.ts';
import { randomly } from '../../../support/randomly.ts';
import { file, symlink, type TarEntry } from '../../../support/tar.ts';
import { FakeRegistry } from '../fake-registry.ts';
import { makeImage } from '../made-image.ts';

const SIGNAL = new AbortController().signal;
const LOADER = '/lib64/ld-linux-x86-64.so.2';

const program = (path: string, needed: readonly string[] = [], rest: ElfFields = {}): TarEntry =>
  file(path, madeElf({ interpreter: LOADER, needed, soname: `program ${path}`, ...rest }), { mode: 0o755 });
const library = (path: string, needed: readonly string[] = [], rest: ElfFields = {}): TarEntry =>
  file(
    path,
    madeElf({ needed, soname: path.slice(path.lastIndexOf('/') + 1), fillBytes: path.length, ...rest }),
  );
const script = (path: string, text: string): TarEntry => file(path, text, { mode: 0o755 });
const text = (path: string, content = path): TarEntry => file(path, content);
const loader = library(LOADER.slice(1));
const libc = library('lib/x86_64-linux-gnu/libc.so.6');
const decoys = [program('usr/bin/decoy', ['libdecoy.so']), library('usr/lib/libdecoy.so'), text('opt/x')];

interface Config {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env?: readonly string[];
  readonly WorkingDir?: string;
}

async function found(
  layers: readonly (readonly TarEntry[])[],
  config: Config,
  onRegistry: (registry: FakeRegistry) => void = () => undefined,
): Promise<string[]> {
  const image = await makeImage(layers, { process: { Cmd: null, ...config } });
  const registry = new FakeRegistry();
  registry.push('made/up', 'v1', image);
  onRegistry(registry);
  const tree = mergeLayers(image.layers);
  const tables = image.layers.map((toc, row) => ({
    toc,
    digest: image.blobs[row + 1]?.digest ?? toc.diffId,
  }));
  const readable = { tree, layers: tables };
  const reader = new FileReader({ reader: registry, name: 'made/up', auth: undefined }, readable, SIGNAL);
  const process = imageProcess(image.blobs[0]?.bytes ?? Buffer.alloc(0));
  const inodes = await startFiles(readable, process, reader);
  return inodes.map((inode) => Buffer.from(tree.firstPath(inode)).toString());
}

const cmd = (...Cmd: string[]): Config => ({ Cmd });
const LD = 'lib64/ld-linux-x86-64.so.2';
const LIBC = 'lib/x86_64-linux-gnu/libc.so.6';

const CASES: readonly (readonly [
  what: string,
  layers: readonly (readonly TarEntry[])[],
  config: Config,
  expected: readonly string[],
])[] = [
  ['nothing without a command', [[program('bin/app')]], {}, []],
  ['nothing for a command that is not there', [[program('bin/app')]], cmd('gone'), []],
  ['nothing for a file that nobody may run', [[text('bin/app')]], cmd('app'), []],
  ['a static program', [[file('bin/app', madeElf(), { mode: 0o755 }), ...decoys]], cmd('app'), ['bin/app']],
  [
    'accounts, program, loader, its cache, libraries breadth first',
    [
      [
        text('etc/passwd'),
        text('etc/group'),
        text('etc/ld.so.cache'),
        text('etc/ld.so.preload', ''),
        loader,
        libc,
      ],
      [
        library('usr/lib/x86_64-linux-gnu/libb.so', ['libc.so.6']),
        library('lib/liba.so', ['libc.so.6', 'libdeep.so', 'libb.so']),
        library('lib/libdeep.so', ['libc.so.6', 'liba.so']),
        program('usr/bin/app', ['liba.so', 'libb.so', 'libgone.so']),
        ...decoys,
      ],
    ],
    cmd('app'),
    [
      ...['etc/passwd', 'etc/group', 'usr/bin/app', LD, 'etc/ld.so.cache'],
      ...['lib/liba.so', 'usr/lib/x86_64-linux-gnu/libb.so', LIBC, 'lib/libdeep.so'],
    ],
  ],
  [
    'through symlinks, to the file that is there',
    [
      [symlink('lib', 'usr/lib'), symlink('bin', 'usr/bin'), symlink('lib64', '/usr/lib64')],
      [loader, library('usr/lib/libz.so.1.2'), symlink('usr/lib/libz.so.1', 'libz.so.1.2')].map((entry) => ({
        ...entry,
        name: entry.name.toString().replace(/^lib64/, 'usr/lib64'),
      })),
      [program('usr/bin/app-2', ['libz.so.1']), symlink('usr/bin/app', '../../bin/app-2')],
    ],
    cmd('/bin/app'),
    ['usr/bin/app-2', 'usr/lib64/ld-linux-x86-64.so.2', 'usr/lib/libz.so.1.2'],
  ],
  [
    'what an upper layer replaces, from that layer',
    [
      [program('bin/app', ['libold.so']), library('lib/libold.so'), library('lib/libnew.so')],
      [program('bin/app', ['libnew.so'])],
    ],
    cmd('app'),
    ['bin/app', 'lib/libnew.so'],
  ],
  [
    'the first program of the PATH that the image sets',
    [[program('bin/app'), program('opt/app', ['libc.so.6']), libc]],
    { Cmd: ['app'], Env: ['PATH=/nowhere:/opt:/bin'] },
    ['opt/app', LIBC],
  ],
  [
    'a library by RPATH of the program also for its libraries, and with $ORIGIN',
    [
      [
        program('opt/app/bin/app', ['liba.so'], { rpath: '$ORIGIN/../lib' }),
        library('opt/app/lib/liba.so', ['libb.so']),
        library('opt/app/lib/libb.so'),
        library('usr/lib/libb.so', ['other']),
      ],
    ],
    cmd('/opt/app/bin/app'),
    ['opt/app/bin/app', 'opt/app/lib/liba.so', 'opt/app/lib/libb.so'],
  ],
  [
    'a library by RUNPATH of what needs it, and of nothing else; RPATH beside it does not count',
    [
      [
        program('opt/app/bin/app', ['liba.so'], { runpath: `\${ORIGIN}/../lib`, rpath: '/opt/wrong' }),
        library('opt/wrong/liba.so', ['wrong']),
        library('opt/app/lib/liba.so', ['libb.so']),
        library('opt/app/lib/libb.so', ['wrong']),
        library('usr/lib/libb.so'),
      ],
    ],
    cmd('/opt/app/bin/app'),
    ['opt/app/bin/app', 'opt/app/lib/liba.so', 'usr/lib/libb.so'],
  ],
  [
    'LD_LIBRARY_PATH before RUNPATH and the system, LD_PRELOAD first',
    [
      [
        program('bin/app', ['liba.so'], { runpath: '/opt/run' }),
        library('opt/env/liba.so'),
        library('opt/run/liba.so', ['wrong']),
        library('usr/lib/libpre.so'),
      ],
    ],
    { Cmd: ['app'], Env: ['LD_LIBRARY_PATH=/opt/env', 'LD_PRELOAD=libpre.so'] },
    ['bin/app', 'usr/lib/libpre.so', 'opt/env/liba.so'],
  ],
  [
    'libraries in directories that ld.so.conf names, in files that it includes',
    [
      [
        text('etc/ld.so.conf', '# the usual\ninclude /etc/ld.so.conf.d/*.conf\n'),
        text('etc/ld.so.conf.d/b.conf', '/opt/b # yes\n'),
        text('etc/ld.so.conf.d/a.conf', 'include /etc/ld.so.conf\n/opt/a\n'),
        text('etc/ld.so.conf.d/c.txt', '/opt/c\n'),
        program('bin/app', ['libx.so', 'liby.so', 'libz.so']),
        library('opt/b/libx.so'),
        library('opt/a/libx.so', ['libdeep.so']),
        library('opt/b/liby.so', ['libother.so']),
        library('opt/c/libz.so'),
      ],
    ],
    cmd('app'),
    ['bin/app', 'opt/a/libx.so', 'opt/b/liby.so'],
  ],
  [
    'no library of another machine',
    [
      [
        program('bin/app', ['liba.so']),
        library('lib/x86_64-linux-gnu/liba.so', [], { machine: 183 }),
        library('usr/lib/x86_64-linux-gnu/liba.so', [], { bits: 32 }),
        library('lib64/liba.so'),
      ],
    ],
    cmd('app'),
    ['bin/app', 'lib64/liba.so'],
  ],
  [
    'what musl loads',
    [
      [
        program('bin/app', ['libc.musl-x86_64.so.1', 'liba.so'], { interpreter: '/lib/ld-musl-x86_64.so.1' }),
        library('lib/ld-musl-x86_64.so.1'),
        symlink('lib/libc.musl-x86_64.so.1', 'ld-musl-x86_64.so.1'),
        text('etc/ld-musl-x86_64.path', '/opt/one:/opt/two\n/lib\n'),
        library('opt/two/liba.so'),
        library('usr/lib/liba.so', ['wrong']),
        text('etc/ld.so.cache'),
      ],
    ],
    cmd('app'),
    ['bin/app', 'lib/ld-musl-x86_64.so.1', 'etc/ld-musl-x86_64.path', 'opt/two/liba.so'],
  ],
  [
    'a script, its interpreter, what it becomes, what the arguments name; then what it mentions',
    [
      [
        script(
          'entry.sh',
          '#!/bin/sh -e\n# decoy\nif [ "$1" = server ]; then chown -R me:me .; fi\nexec tool "$@"\n',
        ),
        program('bin/sh', ['libc.so.6']),
        program('bin/chown', ['libacl.so']),
        program('usr/bin/tool', ['libtool.so']),
        program('usr/bin/server', ['libserver.so']),
        library('lib/libtool.so'),
        library('lib/libserver.so'),
        library('lib/libacl.so'),
        text('etc/server/server.conf'),
        text('srv/named.conf'),
        text('srv/plain.conf'),
        libc,
        ...decoys,
      ],
    ],
    {
      Entrypoint: ['/entry.sh'],
      Cmd: ['server', '--config=/srv/named.conf', 'plain.conf', '--x', ''],
      WorkingDir: '/srv',
    },
    [
      ...['entry.sh', 'bin/sh', LIBC, 'usr/bin/tool', 'lib/libtool.so', 'usr/bin/server', 'lib/libserver.so'],
      ...['srv/named.conf', 'srv/plain.conf', 'bin/chown', 'lib/libacl.so', 'etc/server/server.conf'],
    ],
  ],
  [
    'what env(1) looks up for a script',
    [
      [
        script('app', '#!/usr/bin/env -S tool --flag\nchown\n'),
        program('usr/bin/env'),
        program('bin/tool'),
        program('bin/chown'),
      ],
    ],
    cmd('/app'),
    ['app', 'usr/bin/env', 'bin/tool'],
  ],
  [
    'the words of sh -c',
    [[program('bin/sh'), program('bin/app', ['libc.so.6']), program('bin/id'), libc, text('srv/x.conf')]],
    cmd('sh', '-c', 'id; exec app --file="/srv/x.conf"'),
    ['bin/sh', 'bin/app', LIBC, 'srv/x.conf', 'bin/id'],
  ],
  [
    'scripts that source and call each other, in a circle',
    [
      [
        script('a', '#!/bin/sh\n. /lib/common.sh\n/b\n'),
        script('b', '#!/bin/sh\n/a; /b; tool\n'),
        text('lib/common.sh', '/a\nhelper\n'),
        program('bin/sh'),
        program('bin/tool'),
        program('bin/helper'),
      ],
    ],
    cmd('/a'),
    ['a', 'bin/sh', 'lib/common.sh', 'b', 'bin/helper', 'bin/tool'],
  ],
  [
    'the standard library of Python: compiled where it is compiled',
    [
      [
        symlink('usr/bin/python3', 'python3.11'),
        program('usr/bin/python3.11'),
        text('usr/lib/python3.11/encodings/__init__.py'),
        text('usr/lib/python3.11/encodings/__pycache__/__init__.cpython-311.pyc'),
        text('usr/lib/python3.11/site.py'),
        text('usr/lib/python3.11/unknown.py'),
        text('usr/lib/python3.11/site-packages/some/__main__.py'),
        text('app/start.py'),
      ],
    ],
    { Cmd: ['python3', '-m', 'some', 'start.py'], WorkingDir: '/app' },
    [
      'usr/bin/python3.11',
      'usr/lib/python3.11/encodings/__pycache__/__init__.cpython-311.pyc',
      'usr/lib/python3.11/site.py',
      'usr/lib/python3.11/site-packages/some/__main__.py',
      'app/start.py',
    ],
  ],
  [
    'the virtual machine of Java with its libraries',
    [
      [
        program('opt/jdk/bin/java', ['libjli.so'], { runpath: '$ORIGIN/../lib' }),
        library('opt/jdk/lib/libjli.so'),
        text('opt/jdk/lib/jvm.cfg'),
        library('opt/jdk/lib/server/libjvm.so', ['libm.so.6']),
        library('lib/x86_64-linux-gnu/libm.so.6'),
        text('opt/jdk/lib/modules'),
        text('app.jar'),
      ],
    ],
    { Entrypoint: ['java', '-jar', 'app.jar'], Env: ['PATH=/opt/jdk/bin'] },
    [
      ...['opt/jdk/bin/java', 'opt/jdk/lib/libjli.so', 'opt/jdk/lib/jvm.cfg', 'opt/jdk/lib/server/libjvm.so'],
      ...['lib/x86_64-linux-gnu/libm.so.6', 'opt/jdk/lib/modules', 'app.jar'],
    ],
  ],
  [
    'node with the script and its package.json; perl with its modules',
    [
      [
        program('usr/bin/node'),
        text('srv/package.json'),
        text('srv/index.js'),
        program('usr/bin/perl'),
        text('usr/lib/x86_64-linux-gnu/perl-base/strict.pm'),
      ],
    ],
    { Cmd: ['node', './index.js', '/usr/bin/perl'], WorkingDir: '/srv' },
    [
      ...['usr/bin/node', 'srv/package.json', 'srv/index.js', 'usr/bin/perl'],
      'usr/lib/x86_64-linux-gnu/perl-base/strict.pm',
    ],
  ],
  [
    'what libc and libraries open themselves, in the locale that is set',
    [
      [
        program('bin/app', ['libc.so.6', 'libcrypto.so.3']),
        loader,
        libc,
        library('usr/lib/libcrypto.so.3'),
        library('lib/x86_64-linux-gnu/libnss_files.so.2'),
        text('etc/ssl/openssl.cnf'),
        text('etc/nsswitch.conf'),
        symlink('etc/localtime', '/usr/share/zoneinfo/UTC'),
        text('usr/share/zoneinfo/UTC'),
        text('usr/lib/locale/C.utf8/LC_CTYPE'),
        text('usr/lib/locale/de_DE.utf8/LC_CTYPE'),
      ],
    ],
    { Cmd: ['app'], Env: ['LANG=C.UTF-8'] },
    [
      ...['bin/app', LD, LIBC, 'usr/lib/libcrypto.so.3', 'etc/ssl/openssl.cnf', 'etc/nsswitch.conf'],
      ...[
        'usr/share/zoneinfo/UTC',
        'usr/lib/locale/C.utf8/LC_CTYPE',
        'lib/x86_64-linux-gnu/libnss_files.so.2',
      ],
    ],
  ],
];

/** Whatever an image says of itself, the search ends and finds what is sound. */
const HOSTILE: readonly (readonly [
  what: string,
  layers: readonly (readonly TarEntry[])[],
  config: Config,
])[] = [
  [
    'a command that is a circle of links',
    [[symlink('bin/app', 'app2'), symlink('bin/app2', 'app')]],
    cmd('app'),
  ],
  ['a script that is its own interpreter', [[script('bin/app', '#!/bin/app\n')]], cmd('app')],
  ['a #! without an interpreter', [[script('bin/app', '#!')]], cmd('app')],
  ['a #! without an end', [[script('bin/app', `#!/${'x'.repeat(300_000)}`)]], cmd('app')],
  ['an ELF file of 5 bytes', [[script('bin/app', '\x7fELF\x02')]], cmd('app')],
  [
    'a program that is its own loader and library',
    [[program('lib/app', ['app'], { interpreter: '/lib/app' })]],
    cmd('/lib/app'),
  ],
  [
    'a library that needs everything',
    [
      [
        program(
          'bin/app',
          Array.from({ length: 500 }, (_, n) => `/lib/../lib/./lib${n}.so`),
          { rpath: ':/x'.repeat(2000) },
        ),
      ],
    ],
    cmd('app'),
  ],
  [
    'a configuration that includes itself',
    [[text('etc/ld.so.conf', 'include /etc/*\n'.repeat(900)), program('bin/app', ['x'])]],
    cmd('app'),
  ],
  [
    'a script of nothing but words',
    [
      [
        script(
          'bin/app',
          `#!/bin/sh\n${Array.from({ length: 20_000 }, (_, n) => `w${n}/../../w`).join(' ')}`,
        ),
      ],
    ],
    cmd('app'),
  ],
  [
    'an environment without end',
    [[program('bin/app', ['libc.so.6']), libc]],
    {
      Cmd: ['app', 'y'.repeat(100_000)],
      Env: [`PATH=${'/:'.repeat(50_000)}/bin`, `LD_LIBRARY_PATH=${'/:'.repeat(50_000)}`],
      WorkingDir: 'w/'.repeat(9000),
    },
  ],
  [
    'names that lead above the root',
    [[program('bin/app', ['../../../../libc.so.6'])]],
    cmd('../../../../bin/app'),
  ],
];

describe('startFiles()', function () {
  this.timeout(60_000);
  for (const [what, layers, config, expected] of CASES) {
    it(`finds ${what}`, async () => assert.deepEqual(await found(layers, config), expected));
  }

  for (const [what, layers, config] of HOSTILE) {
    it(`ends for ${what}`, async () => {
      const files = await found(layers, config);
      assert.ok(files.length <= START_LIMIT.files);
      assert.deepEqual(await found(layers, config), files, 'the same again');
    });
  }

  it('reads no more files than the limit, and lists the rest of what it knows', async () => {
    const count = START_LIMIT.inspected + 200;
    const names = Array.from({ length: count }, (_, n) => `lib${n}.so`);
    const chunk = (at: number) => names.slice(at * 400, at * 400 + 400);
    const links = [0, 1, 2, 3].map((at) => library(`lib/libchunk${at}.so`, chunk(at)));
    const layers = [
      program('bin/app', ['libchunk0.so', 'libchunk1.so', 'libchunk2.so', 'libchunk3.so']),
      ...links,
      ...names.map((name, n) => library(`lib/${name}`, [], { soname: `${n}` })),
    ];
    let asked: readonly string[] = [];
    const files = await found([layers], cmd('app'), (registry) => {
      asked = registry.asked;
    });
    assert.equal(files.length, START_LIMIT.inspected);
    assert.ok(asked.length <= START_LIMIT.inspected);
  });

  it('answers damaged programs, whatever the damage', async () => {
    const whole = madeElf({ interpreter: LOADER, needed: ['libc.so.6'], runpath: '$ORIGIN' });
    const random = randomly(11);
    const damaged = Array.from({ length: 60 }, (_, n) => [n, random.damaged(whole)] as const);
    const entries = damaged.map(([n, bytes]) => file(`lib/lib${n}.so`, bytes));
    const needed = damaged.map(([n]) => `lib${n}.so`);
    const files = await found([[program('bin/app', needed), ...entries, loader, libc]], cmd('app'));
    assert.deepEqual(files.slice(0, 2), ['bin/app', LD]);
  });

  it('finds what a program too large to be held needs, in few reads', async () => {
    const fillBytes = START_LIMIT.heldBytes + (3 << 20);
    const needed = ['liba.so', 'libc.so.6'];
    const layers = (rest: ElfFields) => [
      [program('bin/app', needed, { fillBytes, ...rest }), library('lib/liba.so'), libc],
    ];
    const expected = ['bin/app', 'lib/liba.so', LIBC];
    for (const rest of [{}, { stringsLast: true }]) {
      let registry = new FakeRegistry();
      assert.deepEqual(
        await found(layers(rest), cmd('app'), (one) => {
          registry = one;
        }),
        expected,
      );
      assert.ok(registry.asked.length <= 2 + START_LIMIT.passes, `${registry.asked.length} reads`);
    }
  });

  it('passes on that the registry does not answer', async () => {
    const failing = found([[program('bin/app')]], cmd('app'), (registry) => {
      registry.onBlob = () => {
        throw new Error('away');
      };
    });
    await assert.rejects(failing, /away/);
  });
});
