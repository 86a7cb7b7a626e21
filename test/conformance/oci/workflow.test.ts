import assert from 'node:assert/strict';
import { type Workflow, workflowOf } from '../../../conformance/oci/workflow.ts';

const FIRST = 'OCI Distribution Conformance Tests';
const SECOND = 'OCI Conformance Test';

describe('workflowOf()', () => {
  const ROWS: readonly (readonly [string, Workflow])[] = [
    [`${FIRST} Pull Pull blobs HEAD request to nonexistent blob`, 'pull'],
    [`${FIRST} Push Manifest Upload GET nonexistent manifest`, 'push'],
    [`${FIRST} Content Discovery Teardown Delete manifest`, 'content discovery'],
    [`${FIRST} Content Management Setup Populate registry`, 'content management'],
    [`${SECOND}/ping`, 'pull'],
    [`${SECOND}/empty/tag list`, 'content discovery'],
    [`${SECOND}/image/tag-list`, 'content discovery'],
    [`${SECOND}/index-with-subject/referrers (2)`, 'content discovery'],
    [`${SECOND}/sha256 blobs/stream/blob-delete`, 'content management'],
    [`${SECOND}/sha256 blobs/stream/blob-delete (2)`, 'content management'],
    [`${SECOND}/image/delete/tag-delete`, 'content management'],
    [`${SECOND}/image/delete/tag-delete image`, 'content management'],
    [`${SECOND}/image/push/manifest-by-tag index`, 'push'],
    [`${SECOND}/image/head/manifest-head-by-tag image`, 'pull'],
    [`${SECOND}/sha256 blobs/get-missing`, 'pull'],
    [`${SECOND}/sha512 blobs/range requests/range 500-0`, 'pull'],
    [`${SECOND}/image/pull/manifest-by-tag (3)`, 'pull'],
    [`${SECOND}/image/head/manifest-head-by-digest`, 'pull'],
    [`${SECOND}/missing-manifest/by-tag`, 'pull'],
    [`${SECOND}/image/push/manifest-by-tag`, 'push'],
    [`${SECOND}/sha256 blobs/range requests/blob-post-put`, 'push'],
    [`${SECOND}/sha256 blobs/mount/blob-mount`, 'push'],
    [`${SECOND}/sha256 blobs/post cancel/blob-post-cancel`, 'push'],
  ];
  for (const [name, expected] of ROWS) it(name, () => assert.equal(workflowOf(name), expected));
});
