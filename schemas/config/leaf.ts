import { type TObject, type TSchema, TypeGuard } from '@sinclair/typebox';

/** How the text of an environment variable or a flag becomes a value. */
export type LeafKind =
  | 'string'
  | 'integer'
  | 'number'
  | 'boolean'
  | 'choice'
  | 'list'
  /** A list of groups, each read as the whole configuration is (records.ts). */
  | 'records'
  | 'json';

/**
 * One value of a configuration, at one path of its schema. The names that it has elsewhere follow from the
 * path: `upstream.caFile` is `--upstream-ca-file` and `<PREFIX>_UPSTREAM_CA_FILE`.
 */
export interface ConfigLeaf {
  readonly path: readonly string[];
  /** The path with dots, as in a file. */
  readonly key: string;
  /** Without the two dashes. */
  readonly flag: string;
  readonly env: string;
  readonly kind: LeafKind;
  readonly schema: TSchema;
  readonly description: string;
  /** True: never printed. 'url': printed without its password and query. */
  readonly secret: boolean | 'url';
  /** False where the schema marks it optional: then it may be absent. */
  readonly required: boolean;
  /** The keys of the optional groups that it stands in: it exists only if something in each of them is set. */
  readonly optionalGroups: readonly string[];
}

/**
 * The values of a schema, in its order. Objects are groups; everything else is a leaf.
 *
 * @throws {TypeError} when two paths of the schema would share a flag or a variable: a fault of the program.
 */
export function leavesOf(schema: TObject, envPrefix: string): ConfigLeaf[] {
  const leaves: ConfigLeaf[] = [];
  collect(schema, [], [], envPrefix, leaves);
  const seen = new Set<string>(['config', 'help', 'version']);
  for (const leaf of leaves) {
    for (const name of leaf.kind === 'boolean' ? [leaf.flag, `no-${leaf.flag}`] : [leaf.flag]) {
      if (seen.has(name)) throw new TypeError(`the configuration schema names --${name} twice (${leaf.key})`);
      seen.add(name);
    }
  }
  return leaves;
}

function collect(
  group: TObject,
  path: readonly string[],
  optionalGroups: readonly string[],
  envPrefix: string,
  leaves: ConfigLeaf[],
): void {
  for (const [name, schema] of Object.entries(group.properties)) {
    const here = [...path, name];
    const key = here.join('.');
    const optional = TypeGuard.IsOptional(schema);
    if (TypeGuard.IsObject(schema)) {
      collect(schema, here, optional ? [...optionalGroups, key] : optionalGroups, envPrefix, leaves);
      continue;
    }
    const words = here.flatMap((part) => part.split(/(?=[A-Z])/)).map((word) => word.toLowerCase());
    const secret: unknown = schema['secret'];
    leaves.push({
      path: here,
      key,
      flag: words.join('-'),
      env: `${envPrefix}_${words.join('_').toUpperCase()}`,
      kind: kindOf(schema),
      schema,
      description: schema.description ?? '',
      secret: secret === 'url' ? 'url' : secret === true,
      required: !optional,
      optionalGroups,
    });
  }
}

function kindOf(schema: TSchema): LeafKind {
  if (TypeGuard.IsString(schema)) return 'string';
  if (TypeGuard.IsInteger(schema)) return 'integer';
  if (TypeGuard.IsNumber(schema)) return 'number';
  if (TypeGuard.IsBoolean(schema)) return 'boolean';
  if (TypeGuard.IsUnion(schema) && schema.anyOf.every((one) => TypeGuard.IsLiteralString(one)))
    return 'choice';
  if (TypeGuard.IsArray(schema) && TypeGuard.IsString(schema.items)) return 'list';
  return recordSchema(schema) === undefined ? 'json' : 'records';
}

/** What each entry of a list of groups is; undefined for any other schema. */
export function recordSchema(schema: TSchema): TObject | undefined {
  return TypeGuard.IsArray(schema) && TypeGuard.IsObject(schema.items) ? schema.items : undefined;
}

/** What a value of this leaf must be, in words, for messages and `--help`: the schema's own `expected`, or what follows from it. */
export function expectation(leaf: ConfigLeaf): string {
  const { schema } = leaf;
  const said: unknown = schema['expected'];
  if (typeof said === 'string') return said;
  switch (leaf.kind) {
    case 'string':
      if (schema['pattern'] !== undefined) return `a text matching ${schema['pattern']}`;
      if (schema['minLength'] === undefined) return 'a text';
      return schema['minLength'] > 1
        ? `a text of at least ${schema['minLength']} characters`
        : 'a text that is not empty';
    case 'integer':
    case 'number': {
      const noun = leaf.kind === 'integer' ? 'an integer' : 'a number';
      const { minimum, maximum } = schema;
      if (minimum !== undefined && maximum !== undefined) return `${noun} from ${minimum} to ${maximum}`;
      if (minimum !== undefined) return `${noun} of at least ${minimum}`;
      return maximum === undefined ? noun : `${noun} of at most ${maximum}`;
    }
    case 'boolean':
      return 'true or false';
    case 'choice':
      return `one of ${choices(leaf).join(', ')}`;
    case 'list':
      return 'a list of texts';
    case 'records':
      return 'a list of mappings (as JSON where given as text)';
    case 'json':
      return 'a structure (as JSON where given as text)';
    default:
      return leaf.kind satisfies never;
  }
}

function choices(leaf: ConfigLeaf): string[] {
  const anyOf: readonly TSchema[] = leaf.schema['anyOf'] ?? [];
  return anyOf.map((one) => String(one['const']));
}
