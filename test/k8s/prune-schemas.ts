import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Makes kubernetes-schemas.json from Kubernetes' own api/openapi-spec/swagger.json (of a release tag, or of the
 * Go module k8s.io/kubernetes): the kinds that the manifests use, and what these refer to, without descriptions.
 * Strict, as `kubectl --validate=strict` is: a field that the definition does not name is an error.
 *
 *   bin/node test/k8s/prune-schemas.ts SWAGGER VERSION
 */

const KINDS = [
  'io.k8s.api.core.v1.Namespace',
  'io.k8s.api.core.v1.ConfigMap',
  'io.k8s.api.core.v1.Secret',
  'io.k8s.api.core.v1.Service',
  'io.k8s.api.core.v1.PersistentVolumeClaim',
  'io.k8s.api.apps.v1.Deployment',
  'io.k8s.api.apps.v1.StatefulSet',
  'io.k8s.api.apps.v1.DaemonSet',
] as const;
const PREFIX = '#/definitions/';
/** Definitions whose swagger type is narrower than what the API takes (their UnmarshalJSON). */
const WIDER: Readonly<Record<string, object>> = {
  'io.k8s.apimachinery.pkg.util.intstr.IntOrString': { type: ['string', 'integer'] },
  'io.k8s.apimachinery.pkg.api.resource.Quantity': { type: ['string', 'number'] },
};
const DROPPED = new Set(['description', 'format', 'default']);

type Node = { readonly [key: string]: unknown };

function pruned(node: unknown, refer: (name: string) => void): unknown {
  if (Array.isArray(node)) return node.map((item) => pruned(item, refer));
  if (typeof node !== 'object' || node === null) return node;
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(node as Node)) {
    if (key === 'properties') {
      out[key] = Object.fromEntries(Object.entries(value as Node).map(([k, v]) => [k, pruned(v, refer)]));
      out['additionalProperties'] = false;
    } else if (key === '$ref') {
      const name = String(value).slice(PREFIX.length);
      refer(name);
      out[key] = value;
    } else if (!DROPPED.has(key) && !key.startsWith('x-kubernetes-')) {
      out[key] = pruned(value, refer);
    }
  }
  return out;
}

const [swaggerPath, version] = process.argv.slice(2);
if (swaggerPath === undefined || version === undefined)
  throw new Error('usage: prune-schemas.ts SWAGGER VERSION');
const swagger: { readonly definitions: Node } = JSON.parse(readFileSync(swaggerPath, 'utf8')); // Kubernetes' own
const definitions: Record<string, unknown> = {};
const queue: string[] = [...KINDS];
for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
  if (name in definitions) continue;
  definitions[name] = WIDER[name] ?? pruned(swagger.definitions[name], (other) => queue.push(other));
}
const sorted = Object.fromEntries(Object.entries(definitions).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(
  join(import.meta.dirname, 'kubernetes-schemas.json'),
  `${JSON.stringify({ $comment: `Kubernetes ${version}, Apache-2.0; made by prune-schemas.ts`, definitions: sorted })}\n`,
);
