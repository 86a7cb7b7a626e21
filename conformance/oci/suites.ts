/** A pass of a suite: what its program is told beside where the registry is. */
export interface Pass {
  readonly title: string;
  readonly env: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** Settings of the proxy that the pass is about: it is for the embedded registry alone. */
  readonly settings?: readonly string[];
  /** The image must be there before; the suite is told of it. */
  readonly preloaded?: boolean;
}

/** A version of the official conformance suite of the distribution-spec. */
export interface Suite {
  readonly name: string;
  /** Tests under Go's test runner, told of the registry by OCI_ROOT_URL; or a program of its own. */
  readonly kind: 'tests' | 'program';
  readonly version: string;
  readonly sum: string;
  readonly passes: readonly Pass[];
  /** Runs only where the suite of this name cannot be had. */
  readonly standsInFor?: string;
}

export const MODULE = 'github.com/opencontainers/distribution-spec/conformance';

const ALL = {
  OCI_TEST_PULL: '1',
  OCI_TEST_PUSH: '1',
  OCI_TEST_CONTENT_DISCOVERY: '1',
  OCI_TEST_CONTENT_MANAGEMENT: '1',
};

/** Four of the cases exclude others: a run can come to three of them only by being told of another registry. */
const TESTS_PASSES: readonly Pass[] = [
  { title: 'all workflows', env: { ...ALL, OCI_AUTOMATIC_CROSSMOUNT: '1' } },
  {
    title: 'what is there before',
    env: { OCI_TEST_PULL: '1', OCI_TEST_CONTENT_DISCOVERY: '1' },
    args: ['-ginkgo.focus', 'Tests Pull|no push|listing tags'],
    preloaded: true,
  },
  {
    title: 'cross-mounts that name their source only',
    env: { OCI_TEST_PUSH: '1', OCI_AUTOMATIC_CROSSMOUNT: '0' },
    settings: ['--storage-cross-mount', 'named'],
  },
  {
    title: 'no cross-mounts',
    env: { OCI_TEST_PUSH: '1' },
    settings: ['--storage-cross-mount', 'off'],
  },
];

/** `dev` is the specification's main branch: upload cancel, tags as parameters, digests in every answer. */
const PROGRAM_PASSES: readonly Pass[] = [
  { title: 'all but sparse manifests', env: { OCI_VERSION: 'dev' } },
  {
    title: 'sparse manifests as well',
    env: { OCI_VERSION: 'dev', OCI_DATA_SPARSE: 'true' },
    settings: ['--storage-sparse'],
  },
];

export const SUITES: readonly Suite[] = [
  {
    name: 'v1.1.1',
    kind: 'tests',
    version: 'v0.0.0-20250123160558-a139cc423184',
    sum: 'h1:7bNCAFy3pSZzsM+xTEhbhSKzYcVMVf/g8lT71MMlkjU=',
    passes: TESTS_PASSES,
  },
  {
    // Between v1.1.0-rc.3 and -rc.4: the referrers API as it became, artifact types and cross-mounts included.
    name: 'v1.1.0-rc.3+21',
    kind: 'tests',
    version: 'v0.0.0-20231101194043-f2182352d4cc',
    sum: 'h1:jL+CgYEEZluGb08ZcLpEyhn389kNMlwrWOHaIqXazq0=',
    passes: TESTS_PASSES,
    standsInFor: 'v1.1.1',
  },
  {
    name: 'v2 (main, 2026-08-31)',
    kind: 'program',
    version: 'v0.0.0-20260831232431-97274622c111',
    sum: 'h1:ppZPU0CrEPzyJhVggYwUIZrqh0w2lIT0esw+9ABNPA4=',
    passes: PROGRAM_PASSES,
  },
];
