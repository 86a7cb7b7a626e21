import { Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';

const Command = Type.Optional(Type.Union([Type.Null(), Type.Array(Type.String())]));
const check = TypeCompiler.Compile(
  Type.Object({
    config: Type.Optional(Type.Union([Type.Null(), Type.Object({ Entrypoint: Command, Cmd: Command })])),
  }),
);

/** Entrypoint and arguments of an image config (image-spec, config.md); empty where it names none. */
export function imageCommand(config: Uint8Array): readonly string[] {
  const value: unknown = JSON.parse(Buffer.from(config).toString()); // parsed once already when it was ingested
  if (!check.Check(value)) return [];
  return [...(value.config?.Entrypoint ?? []), ...(value.config?.Cmd ?? [])];
}
