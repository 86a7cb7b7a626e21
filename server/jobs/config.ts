import { type Static, Type } from '@sinclair/typebox';
import { Ms } from '../../schemas/config/setting.ts';
import { REPOSITORY_PATTERN } from '../../schemas/oci/repository-pattern.ts';

const AtOnce = (fallback: number, description: string) =>
  Type.Integer({ minimum: 1, maximum: 64, default: fallback, description });

/** How images become known, and what the queue may do at once. */
export const EventsSchema = Type.Object({
  secret: Type.Optional(
    Type.String({
      minLength: 8,
      secret: true,
      description:
        "What webhooks (/starlight/events) and Harbor's scanner calls must carry in Authorization; without it they are off.",
    }),
  ),
  pushes: Type.Boolean({
    default: true,
    description: 'Ingest what is pushed through the proxy itself.',
  }),
  repositories: Type.Array(Type.String({ pattern: REPOSITORY_PATTERN }), {
    expected: 'a list of patterns of repositories, as team/**',
    maxItems: 256,
    default: ['**'],
    description: 'The repositories that events, pushes and reconciliation are heeded of: team/**, library/*.',
  }),
  reconcileMs: Type.Integer({
    minimum: 0,
    maximum: 7 * 86_400_000,
    default: 0,
    description: 'How often the tags of the registries are gone through for what events missed; 0 for never.',
  }),
  credentialsFile: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        'A docker config.json with what the queue presents to upstreams, by their host; nobody’s request is behind its work.',
    }),
  ),
  leaseMs: Ms(
    60_000,
    'So long after a replica has died, the others take up what it was working on; the same for all of them.',
    1_000,
  ),
  ingestsAtOnce: AtOnce(2, 'How many images this process ingests at once for the queue.'),
  conversionsAtOnce: AtOnce(1, 'How many images this process converts at once.'),
});

const Match = Type.String({
  pattern: REPOSITORY_PATTERN,
  description: 'Of which repositories: team/**, library/*.',
});

export const ConvertSchema = Type.Array(
  Type.Union([
    Type.Object(
      {
        match: Match,
        tagSuffix: Type.String({ pattern: '^[A-Za-z0-9._-]{1,64}$' }),
      },
      { additionalProperties: false },
    ),
    Type.Object({ match: Match, sameTagAsReferrer: Type.Literal(true) }, { additionalProperties: false }),
  ]),
  {
    maxItems: 256,
    default: [],
    expected:
      'a list of {match, tagSuffix} and {match, sameTagAsReferrer: true}, as JSON where given as text',
    description:
      'What is converted when it becomes known, the first match counting: [{match: "team/**", tagSuffix: "-starlight"}] or [{match, sameTagAsReferrer: true}].',
  },
);

export type EventsConfig = Static<typeof EventsSchema>;
