-- What an image opens first, as found at ingest: rows of its shown contents (extensions/starlight/optimizer).
-- NULL where nothing is known, as for images that were ingested before.
ALTER TABLE manifest ADD COLUMN start_order bytea;
