import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Ajv } from 'ajv';
import { parseAllDocuments } from 'yaml';

/** The manifests of k8s/, and Kubernetes' own definitions to check them with. */

const FOLDER = resolve(import.meta.dirname, '../../k8s');
const GROUP: Readonly<Record<string, string>> = { v1: 'core.v1', 'apps/v1': 'apps.v1' };

export type Manifest = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [key: string]: unknown;
};

/** Every document of every `.yaml` file, with the file's name. @throws on faulty YAML and on duplicate keys. */
export function manifests(): { file: string; manifest: Manifest }[] {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.yaml'));
  return files.sort().flatMap((file) =>
    parseAllDocuments(readFileSync(join(FOLDER, file), 'utf8'), { uniqueKeys: true }).map((document) => {
      if (document.errors[0] !== undefined) throw document.errors[0];
      return { file, manifest: document.toJS() as Manifest }; // its shape is what `faults` checks
    }),
  );
}

const ajv = new Ajv({
  strict: true,
  strictTypes: false,
  allowUnionTypes: true,
  allErrors: true,
});
const schemas: { readonly definitions: object } = JSON.parse(
  readFileSync(join(import.meta.dirname, 'kubernetes-schemas.json'), 'utf8'),
);
ajv.addSchema({ $id: 'kubernetes', definitions: schemas.definitions });

/** What Kubernetes would refuse in `manifest`, unknown fields among it; empty when it would take it. */
export function faults(manifest: Manifest): string[] {
  const group = GROUP[manifest.apiVersion];
  const name = `io.k8s.api.${group ?? 'unknown'}.${manifest.kind}`;
  if (!Object.hasOwn(schemas.definitions, name))
    return [`no definition of ${manifest.apiVersion} ${manifest.kind}`];
  const validate = ajv.getSchema(`kubernetes#/definitions/${name}`);
  if (validate === undefined || validate(manifest) === true) return [];
  return (validate.errors ?? []).map(
    ({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`,
  );
}
