/**
 * What a program opens beside its libraries before it does what it was started for. Paths are patterns (`*`
 * for a run of bytes within a name), with `{…}` for what is known of the program: `{prefix}` the directory
 * above its own, `{directory}` its own, symlinks followed; `{1}` the first group of its name; `{workdir}`; and
 * `{module}` the path of the module behind `-m`. Of alternatives the first that is there counts.
 */
export interface Runtime {
  /** Matched against the name of the program's file, symlinks followed. */
  readonly program: RegExp;
  /** In the order in which they are opened; shared objects with the libraries that they need. */
  readonly files: readonly (string | readonly string[])[];
}

const PYTHON = '{prefix}/lib/python{1}';

/** A module of Python: its compiled form goes before its source. */
function pythonModule(module: string): readonly string[] {
  const at = module.lastIndexOf('/') + 1;
  const [folder, name] = [module.slice(0, at), module.slice(at)];
  return [`${folder}__pycache__/${name}.cpython-*.pyc`, `${folder}${name}.py`];
}

const PYTHON_START = [
  ...[
    'encodings/__init__',
    'encodings/aliases',
    'encodings/utf_8',
    'codecs',
    'io',
    'abc',
    'site',
    'os',
    'stat',
  ],
  ...[
    'posixpath',
    'genericpath',
    '_collections_abc',
    '_sitebuiltins',
    'encodings/latin_1',
    'encodings/ascii',
  ],
];
const PYTHON_MODULE = [
  'runpy',
  'importlib/__init__',
  'importlib/util',
  'importlib/abc',
  'importlib/machinery',
];
/** What nearly every script imports, itself or by something else. */
const PYTHON_COMMON = [
  ...[
    'types',
    'enum',
    'functools',
    'collections/__init__',
    'operator',
    'keyword',
    'reprlib',
    're/__init__',
    're',
  ],
  ...['re/_compiler', 're/_parser', 're/_constants', 're/_casefix', 'sre_compile', 'sre_parse', 'copyreg'],
  ...[
    'warnings',
    'contextlib',
    'typing',
    'weakref',
    '_weakrefset',
    'traceback',
    'linecache',
    'tokenize',
    'token',
  ],
  ...['threading', 'signal', 'subprocess', 'selectors', 'socket', 'ssl', 'logging/__init__', 'json/__init__'],
  ...['json/decoder', 'json/encoder', 'json/scanner', 'argparse', 'gettext', 'locale', 'datetime', 'inspect'],
];

const PERL_FOLDERS = [
  ...['/usr/local/lib/perl5/*', '/usr/lib/*/perl-base', '/usr/lib/*/perl/*', '/usr/share/perl/*'],
  ...['/usr/lib/perl5/core_perl', '/usr/share/perl5/core_perl', '/usr/share/perl5', '/usr/lib64/perl5'],
];
const PERL_START = [
  'strict',
  'warnings',
  'Config',
  'vars',
  'Exporter',
  'Carp',
  'constant',
  'POSIX',
  'overload',
];

const JAVA_LIBRARIES = ['libjava.so', 'libjimage.so', 'libverify.so', 'libzip.so', 'libnio.so', 'libnet.so'];

export const RUNTIMES: readonly Runtime[] = [
  {
    program: /^python(\d+\.\d+)t?$/,
    files: [
      '{directory}/pyvenv.cfg',
      '{prefix}/pyvenv.cfg',
      '{directory}/python*._pth',
      ...PYTHON_START.map((module) => pythonModule(`${PYTHON}/${module}`)),
      `${PYTHON}/site-packages/*.pth`,
      '{prefix}/lib/python3/dist-packages/*.pth',
      [`${PYTHON}/sitecustomize.py`, '/etc/python{1}/sitecustomize.py'],
      ...(
        ['{workdir}', PYTHON, `${PYTHON}/site-packages`, '{prefix}/lib/python3/dist-packages'] as const
      ).flatMap((folder) =>
        ['{module}', '{module}/__init__', '{module}/__main__'].map((name) =>
          pythonModule(`${folder}/${name}`),
        ),
      ),
      ...PYTHON_MODULE.map((module) => pythonModule(`${PYTHON}/${module}`)),
      ...PYTHON_COMMON.map((module) => pythonModule(`${PYTHON}/${module}`)),
    ],
  },
  {
    program: /^node(?:js)?$/,
    files: ['{workdir}/package.json', '{workdir}/package-lock.json', '{workdir}/.env'],
  },
  {
    program: /^java$/,
    files: [
      ['{prefix}/lib/jvm.cfg', '{prefix}/lib/*/jvm.cfg'],
      ['{prefix}/lib/libjli.so', '{prefix}/lib/jli/libjli.so', '{prefix}/lib/*/jli/libjli.so'],
      ['{prefix}/lib/server/libjvm.so', '{prefix}/lib/*/server/libjvm.so'],
      '{prefix}/lib/server/classes.jsa',
      ...JAVA_LIBRARIES.map((name) => [`{prefix}/lib/${name}`, `{prefix}/lib/*/${name}`]),
      ['{prefix}/lib/modules', '{prefix}/lib/rt.jar'],
      ['{prefix}/conf/security/java.security', '{prefix}/lib/security/java.security'],
      '{prefix}/conf/security/policy/unlimited/*.policy',
      ['{prefix}/conf/logging.properties', '{prefix}/lib/logging.properties'],
      '{prefix}/conf/net.properties',
      '{prefix}/lib/tzdb.dat',
    ],
  },
  {
    program: /^perl(?:5[\d.]*)?$/,
    files: PERL_START.flatMap((module) => PERL_FOLDERS.map((folder) => `${folder}/${module}.pm`)),
  },
];

/** What a library opens when it is first used, by the name under which it is loaded. */
export const LIBRARY_FILES: readonly (readonly [library: RegExp, files: readonly string[]])[] = [
  [/^libcrypto\.so/, ['/etc/ssl/openssl.cnf', '/usr/lib/ssl/openssl.cnf', '/etc/pki/tls/openssl.cnf']],
  [/^libgnutls\.so/, ['/etc/gnutls/config']],
  [/^libkrb5\.so/, ['/etc/krb5.conf']],
  [/^libldap[-.]/, ['/etc/ldap/ldap.conf', '/etc/openldap/ldap.conf']],
  [/^libsystemd\.so/, ['/etc/machine-id']],
];

/** What runtimes of containers read of an image before its process begins: who it is to run as. */
export const BEFORE_START: readonly string[] = ['/etc/passwd', '/etc/group'];

/** What programs open through libc: who and where they are. */
export const LIBC_FILES: readonly string[] = [
  '/etc/nsswitch.conf',
  '/etc/localtime',
  '/etc/hosts',
  '/etc/resolv.conf',
  '/etc/host.conf',
  '/etc/gai.conf',
];

/** What glibc opens of itself, at the earliest use of users, of hosts, of threads that end. */
export const GLIBC_FILES: readonly string[] = ['libnss_files.so.2', 'libgcc_s.so.1'];

/** What setlocale() opens where the environment names a locale; `{locale}` as glibc calls its folder. */
export const LOCALE_FILES: readonly string[] = [
  '/usr/lib/locale/locale-archive',
  '/usr/share/locale/locale.alias',
  '/usr/lib/locale/{locale}/LC_*',
  '/usr/lib/locale/{locale}/LC_MESSAGES/SYS_LC_MESSAGES',
  '/usr/lib/*/gconv/gconv-modules.cache',
  '/usr/lib64/gconv/gconv-modules.cache',
];

/** Where programs look for their configuration; `{name}` is the program's. */
export const CONFIGURATION: readonly string[] = [
  '/etc/{name}.conf',
  '/etc/{name}/*',
  '/etc/{name}/*/*',
  '/usr/local/etc/{name}/*',
];
