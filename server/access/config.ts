import { type Static, Type } from '@sinclair/typebox';
import { patternFault } from '../../schemas/oci/repository-pattern.ts';

const RuleSchema = Type.Object(
  {
    repositories: Type.String({ minLength: 1, maxLength: 255 }),
    users: Type.Union(
      [
        Type.Literal('anonymous'),
        Type.Literal('authenticated'),
        Type.Array(Type.String({ minLength: 1, maxLength: 255 }), { minItems: 1, maxItems: 1024 }),
      ],
      { expected: 'a list of names, authenticated or anonymous' },
    ),
    allow: Type.Array(Type.Union([Type.Literal('pull'), Type.Literal('push'), Type.Literal('delete')]), {
      maxItems: 3,
      expected: 'a list of pull, push, delete',
    }),
  },
  { additionalProperties: false },
);
export type RuleConfig = Static<typeof RuleSchema>;

/** Who may do what with the embedded registry; the README of this folder tells how rules are read. */
export const AccessSchema = Type.Object({
  htpasswdFile: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        "Users of the embedded registry, in Apache's htpasswd format with bcrypt (htpasswd -B); read again when it changes.",
    }),
  ),
  anonymousPull: Type.Boolean({
    default: false,
    description: 'With users and without rules: whoever does not log in may pull.',
  }),
  rules: Type.Optional(
    Type.Array(RuleSchema, {
      maxItems: 1024,
      description:
        'Rights by repository: [{repositories: "team/**", users: [ann] | anonymous | authenticated, allow: [pull, push, delete]}]. The rules with the first pattern that fits decide; nothing else is allowed.',
    }),
  ),
  realm: Type.String({
    pattern: '^[ !#-\\[\\]-~]{1,100}$',
    expected: 'at most 100 characters of ASCII, no quotes or backslashes',
    default: 'starlight',
    description: 'What clients are told they log in to.',
  }),
  askFirst: Type.Boolean({
    default: false,
    description:
      'Ask for a login at /v2/ though something may be pulled without: a Docker daemon logs in only where that asks.',
  }),
});
export type AccessConfig = Static<typeof AccessSchema>;

/** True where somebody is kept from something. */
export function isGuarded(access: AccessConfig): boolean {
  return access.htpasswdFile !== undefined || access.rules !== undefined;
}

/** Rules across several values, for `loadConfig`. */
export function checkAccess(access: AccessConfig): string[] {
  const { htpasswdFile, rules, anonymousPull, askFirst } = access;
  const faults: string[] = [];
  if (anonymousPull && rules !== undefined) {
    faults.push(
      'access.anonymousPull: has no effect with access.rules; add a rule {repositories: "**", users: anonymous, allow: [pull]}',
    );
  }
  if ((anonymousPull || askFirst) && htpasswdFile === undefined) {
    const name = anonymousPull ? 'anonymousPull' : 'askFirst';
    if (rules === undefined || askFirst) {
      faults.push(`access.${name}: has no effect without users; set access.htpasswdFile`);
    }
  }
  for (const [row, rule] of (rules ?? []).entries()) {
    const fault = patternFault(rule.repositories);
    if (fault !== undefined) faults.push(`access.rules[${row}].repositories: ${fault}`);
    if (htpasswdFile === undefined && rule.users !== 'anonymous') {
      faults.push(`access.rules[${row}].users: there are none without access.htpasswdFile`);
    }
  }
  return faults;
}
