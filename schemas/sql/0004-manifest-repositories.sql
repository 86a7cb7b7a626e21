-- Ingest asks which registries hold an image: what one has shown is no proof of what another has.
CREATE INDEX repository_manifest_by_manifest ON repository_manifest (manifest_digest);
