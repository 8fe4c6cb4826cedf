-- name: applied_migrations
-- What has been applied, with the checksum it had then.
SELECT name, sha256 FROM schema_migrations;

-- name: create_ledger
-- The list of applied migrations.
CREATE TABLE IF NOT EXISTS schema_migrations (
    name       text PRIMARY KEY,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: lock_migrations
-- One migrator at a time; the lock goes with the connection, so a killed one leaves none behind.
SELECT pg_advisory_lock(hashtext('scheduler.migrations'));

-- name: record_migration
-- This file has been applied.
INSERT INTO schema_migrations (name, sha256) VALUES (%(name)s, %(sha256)s);
