-- The directory of converted images: a cache of what the registries hold, but for the traces, which live here
-- alone. Rows named by a digest never change once written; only tags, traces and groups do.
-- Digests are text, `<algorithm>:<hex>`; platforms are `os/architecture[/variant]`.

CREATE TABLE repository (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  registry text NOT NULL, -- the upstream's name in the configuration; '' is the embedded registry
  name text NOT NULL,
  UNIQUE (registry, name)
);

-- One layer's table of contents, canonical bytes (schemas/toc), zstd-compressed.
CREATE TABLE layer (
  digest text PRIMARY KEY,
  diff_id text NOT NULL,
  size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
  estargz_toc_digest text, -- of an eStargz layer: the digest of its own table, found to agree with its tar
  toc bytea NOT NULL,
  toc_size_bytes bigint NOT NULL CHECK (toc_size_bytes >= 0) -- uncompressed
);
ALTER TABLE layer ALTER COLUMN toc SET STORAGE EXTERNAL;

CREATE TABLE config (
  digest text PRIMARY KEY,
  media_type text NOT NULL,
  bytes bytea NOT NULL
);

CREATE TABLE manifest (
  digest text PRIMARY KEY,
  media_type text NOT NULL,
  bytes bytea NOT NULL,
  config_digest text NOT NULL REFERENCES config (digest),
  platform text NOT NULL,
  toc_digest text NOT NULL,
  toc_bound boolean NOT NULL, -- true when the manifest itself names toc_digest
  toc bytea NOT NULL, -- of all layers together, zstd-compressed
  toc_size_bytes bigint NOT NULL CHECK (toc_size_bytes >= 0), -- uncompressed
  shown bytea NOT NULL, -- which contents the merged layers show, zstd-compressed (extensions/starlight/optimizer)
  shown_size_bytes bigint NOT NULL CHECK (shown_size_bytes >= 0), -- uncompressed
  ingested_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE manifest ALTER COLUMN toc SET STORAGE EXTERNAL;
ALTER TABLE manifest ALTER COLUMN shown SET STORAGE EXTERNAL;

CREATE TABLE manifest_layer (
  manifest_digest text NOT NULL REFERENCES manifest (digest) ON DELETE CASCADE,
  position integer NOT NULL CHECK (position >= 0), -- 0 is the lowest layer
  layer_digest text NOT NULL REFERENCES layer (digest),
  PRIMARY KEY (manifest_digest, position)
);
CREATE INDEX manifest_layer_by_layer ON manifest_layer (layer_digest);

CREATE TABLE image_index (
  digest text PRIMARY KEY,
  media_type text NOT NULL,
  bytes bytea NOT NULL
);

-- Which repository was seen to hold which manifest. `sequence` orders them: the newest has the greatest.
CREATE TABLE repository_manifest (
  repository_id bigint NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
  manifest_digest text NOT NULL REFERENCES manifest (digest) ON DELETE CASCADE,
  sequence bigint GENERATED ALWAYS AS IDENTITY,
  PRIMARY KEY (repository_id, manifest_digest)
);

CREATE TABLE tag (
  repository_id bigint NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
  tag text NOT NULL,
  platform text NOT NULL,
  manifest_digest text NOT NULL REFERENCES manifest (digest) ON DELETE CASCADE,
  index_digest text REFERENCES image_index (digest),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (repository_id, tag, platform)
);

-- What was opened, in which order, of one image: packed rows of path, sum of ranks and number of hits.
-- `version` grows with every change, so that whoever keeps a plan can tell that it is out of date.
CREATE TABLE trace (
  manifest_digest text PRIMARY KEY REFERENCES manifest (digest) ON DELETE CASCADE,
  version bigint NOT NULL,
  ranks bytea NOT NULL
);

-- Images that were asked for together. `id` is the digest of their manifests' digests, sorted.
CREATE TABLE image_group (
  id text PRIMARY KEY,
  requests bigint NOT NULL,
  last_requested_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE image_group_member (
  group_id text NOT NULL REFERENCES image_group (id) ON DELETE CASCADE,
  manifest_digest text NOT NULL REFERENCES manifest (digest) ON DELETE CASCADE,
  PRIMARY KEY (group_id, manifest_digest)
);
CREATE INDEX image_group_member_by_manifest ON image_group_member (manifest_digest);
