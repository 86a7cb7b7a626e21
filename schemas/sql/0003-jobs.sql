-- Work that the replicas of the proxy share: images to ingest and to convert. Times are milliseconds since 1970 by
-- the clocks of the replicas, which are to be in step within a lease. `again` says that it was asked for anew while
-- it ran; `not_before_ms` is when a job that failed may be tried once more.

CREATE TABLE job (
  id text PRIMARY KEY,
  sequence bigint GENERATED ALWAYS AS IDENTITY,
  kind text NOT NULL,
  registry text NOT NULL, -- as in repository
  name text NOT NULL,
  reference text NOT NULL, -- a tag or a digest
  digest text NOT NULL, -- what the reference named when that was told; empty where it was not
  origin text NOT NULL,
  state text NOT NULL,
  attempts bigint NOT NULL DEFAULT 0,
  again boolean NOT NULL DEFAULT false,
  owner text NOT NULL DEFAULT '',
  lease_until_ms bigint NOT NULL DEFAULT 0,
  not_before_ms bigint NOT NULL,
  created_ms bigint NOT NULL,
  updated_ms bigint NOT NULL,
  progress text NOT NULL DEFAULT '',
  result text NOT NULL DEFAULT '',
  error text NOT NULL DEFAULT ''
);
-- The same is asked for once as long as it is not done.
CREATE UNIQUE INDEX job_open ON job (kind, registry, name, reference) WHERE state IN ('queued', 'running');
CREATE INDEX job_next ON job (kind, not_before_ms, sequence) WHERE state IN ('queued', 'running');
CREATE INDEX job_finished ON job (updated_ms) WHERE state NOT IN ('queued', 'running');
CREATE INDEX job_seen ON job (registry, name, reference, digest);

-- Work that one replica at a time does from time to time.
CREATE TABLE job_turn (
  name text PRIMARY KEY,
  owner text NOT NULL,
  until_ms bigint NOT NULL
);
