import { Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';

const Words = Type.Optional(Type.Union([Type.Null(), Type.Array(Type.String())]));
const check = TypeCompiler.Compile(
  Type.Object({
    config: Type.Optional(
      Type.Union([
        Type.Null(),
        Type.Object({
          Entrypoint: Words,
          Cmd: Words,
          Env: Words,
          WorkingDir: Type.Optional(Type.Union([Type.Null(), Type.String()])),
        }),
      ]),
    ),
  }),
);

/** The process that an image's config describes (image-spec, config.md). */
export interface ImageProcess {
  /** Entrypoint and arguments; empty where it names none. */
  readonly command: readonly string[];
  /** By name; of one that is set twice the last value. */
  readonly environment: ReadonlyMap<string, string>;
  readonly workingDirectory: string;
}

/** A config of another shape describes no process. @throws {SyntaxError} on what is no JSON. */
export function imageProcess(config: Uint8Array): ImageProcess {
  const value: unknown = JSON.parse(Buffer.from(config).toString()); // parsed once already when it was ingested
  const { Entrypoint, Cmd, Env, WorkingDir } = check.Check(value) ? (value.config ?? {}) : {};
  return {
    command: [...(Entrypoint ?? []), ...(Cmd ?? [])],
    environment: new Map((Env ?? []).map((one) => split(one))),
    workingDirectory: WorkingDir || '/',
  };
}

function split(variable: string): [name: string, value: string] {
  const at = variable.indexOf('=');
  return at < 0 ? [variable, ''] : [variable.slice(0, at), variable.slice(at + 1)];
}
