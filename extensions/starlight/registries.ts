import type { RegistryReader } from './registry-reader.ts';

/** A registry that the proxy fronts: the only ones that are ever read, whatever a request asks for. */
export interface FrontedRegistry {
  /** The name under which the directory keeps its repositories; empty for the embedded one. */
  readonly key: string;
  readonly reader: RegistryReader;
}

/** The registry that a host name (`ns`) stands for, or the default one; undefined when the host is not fronted. */
export type RegistryChoice = (namespace: string | undefined) => FrontedRegistry | undefined;
