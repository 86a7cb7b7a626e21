import { mkdir, readFile, rm } from 'node:fs/promises';
import { type CaseOutcomes, readJunit } from '../../conformance/oci/junit.ts';
import type { Pass, Suite } from '../../conformance/oci/suites.ts';
import { tryRun } from '../lib/child.ts';
import { type PreloadedImage, preloadImage } from './preload-image.ts';

const LIMIT_MS = 600_000;

export interface PassRun {
  readonly suite: Suite;
  readonly pass: Pass;
  /** The suite's program. */
  readonly binary: string;
  /** `http://host:port`. */
  readonly url: string;
  /** Begins the names of the repositories that are pushed to, which must be empty. */
  readonly prefix: string;
  /** Where the reports go (report.html, junit.xml, …); of this pass alone. */
  readonly reportDir: string;
}

/** Runs one pass of a suite against a registry. @throws {Error} where it ends without a report. */
export async function runPass({
  suite,
  pass,
  binary,
  url,
  prefix,
  reportDir,
}: PassRun): Promise<CaseOutcomes> {
  await rm(reportDir, { recursive: true, force: true }); // an earlier run's report would be taken for this one's
  await mkdir(reportDir, { recursive: true });
  const [first, second] = [`${prefix}/one`, `${prefix}/two`];
  const image = pass.preloaded === true ? await preloadImage(url, first) : undefined;
  const where: NodeJS.ProcessEnv =
    suite.kind === 'tests'
      ? {
          OCI_ROOT_URL: url,
          OCI_NAMESPACE: first,
          OCI_CROSSMOUNT_NAMESPACE: second,
          OCI_REPORT_DIR: reportDir,
          ...(image === undefined ? {} : environmentOf(image)),
        }
      : {
          OCI_REGISTRY: new URL(url).host,
          OCI_TLS: 'disabled',
          OCI_REPO1: first,
          OCI_REPO2: second,
          OCI_RESULTS_DIR: reportDir,
        };
  const options = { cwd: reportDir, timeoutMs: LIMIT_MS, env: { ...where, ...pass.env } };
  const { stdout, stderr } = await tryRun(binary, pass.args ?? [], options);
  let junit: string;
  try {
    junit = await readFile(`${reportDir}/junit.xml`, 'utf8');
  } catch (cause) {
    throw new Error(`${suite.name}, ${pass.title}: no report\n${(stdout + stderr).slice(-2000)}`, { cause });
  }
  return readJunit(junit);
}

function environmentOf({ tag, tags, manifestDigest, blobDigest }: PreloadedImage): NodeJS.ProcessEnv {
  return {
    OCI_TAG_NAME: tag,
    OCI_TAG_LIST: tags.join(','),
    OCI_MANIFEST_DIGEST: manifestDigest,
    OCI_BLOB_DIGEST: blobDigest,
  };
}
