import { type Static, Type } from '@sinclair/typebox';

/** A job of the proxy as `/starlight/jobs` tells of it: what the command line reads. Times are ISO 8601. */
export const JobViewSchema = Type.Object({
  id: Type.String(),
  kind: Type.String(),
  registry: Type.String(),
  name: Type.String(),
  reference: Type.String(),
  digest: Type.Optional(Type.String()),
  origin: Type.String(),
  state: Type.String(),
  attempts: Type.Integer(),
  created: Type.String(),
  updated: Type.String(),
  notBefore: Type.Optional(Type.String()),
  progress: Type.Optional(Type.String()),
  result: Type.Optional(Type.String()),
  error: Type.Optional(Type.String()),
});
export type JobView = Static<typeof JobViewSchema>;
export const JobListSchema = Type.Object({ jobs: Type.Array(JobViewSchema) });
