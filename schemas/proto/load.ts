import { fileURLToPath } from 'node:url';
import type { ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/** Imports in the `.proto` files are relative to this directory. */
const PROTO_ROOT = fileURLToPath(new URL('.', import.meta.url));

/**
 * The service `name` (full, such as `containerd.services.snapshots.v1.Snapshots`) of the file `path`
 * (relative to this directory), for a grpc-js server or client.
 *
 * Messages are plain objects: field names as in the file, 64-bit integers as decimal strings, enum values by
 * name, absent scalars, lists and maps as their defaults, absent messages as null.
 *
 * @throws {Error} when the file or the service does not exist.
 */
export function loadService(path: string, name: string): ServiceDefinition {
  const definitions = loadSync(path, {
    includeDirs: [PROTO_ROOT],
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
  });
  const found = definitions[name];
  if (found === undefined || 'format' in found) throw new Error(`${path} defines no service ${name}`);
  return found as ServiceDefinition; // 'format' marks messages and enums; what is left is a service
}
