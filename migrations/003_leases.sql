-- Fewer writes for each job. No index of jobs may hold what a claim or a completion changes, but the due index.
--
-- A lease is of a batch: one row for each claim instead of an index entry for each job. Which jobs are dead has a column
-- of its own, so that completing one does not touch that index. A completed attempt is kept in its job's row.

CREATE TABLE leases (
    id           bigint PRIMARY KEY,
    expires_at   timestamptz NOT NULL,
    merchant_ids uuid[] NOT NULL,
    job_ids      uuid[] NOT NULL
);
COMMENT ON TABLE leases IS 'batches that executors hold; a job is held while it runs and names the lease';
COMMENT ON COLUMN leases.job_ids IS 'what was asked for with this claim, each beside its merchant; some may not have been claimed';
ALTER TABLE leases ALTER merchant_ids SET STORAGE EXTERNAL, ALTER job_ids SET STORAGE EXTERNAL;
CREATE INDEX leases_expiring ON leases (expires_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON leases TO scheduler_worker;

-- The owner is held by the walls too; for this file it must see every merchant's rows.
ALTER TABLE jobs NO FORCE ROW LEVEL SECURITY;
ALTER TABLE jobs
    ADD lease_id bigint,
    ADD dead boolean NOT NULL DEFAULT false,
    ADD http_status smallint,
    ADD response text;
COMMENT ON COLUMN jobs.lease_id IS 'the lease under which it runs';
COMMENT ON COLUMN jobs.dead IS 'whether it ended otherwise than completed';
COMMENT ON COLUMN jobs.http_status IS 'of the attempt that completed it; the attempts before are in executions';
COMMENT ON COLUMN jobs.last_run_at IS 'when the latest attempt was claimed, and from its end on when its delivery began';

-- What runs at this moment is one batch.
INSERT INTO leases (id, expires_at, merchant_ids, job_ids)
SELECT 0, max(lease_expires_at), array_agg(merchant_id), array_agg(id)
FROM jobs WHERE lease_expires_at IS NOT NULL HAVING count(*) > 0;
UPDATE jobs SET lease_id = 0 WHERE lease_expires_at IS NOT NULL;
UPDATE jobs SET dead = true WHERE status IN ('failed', 'cancelled', 'expired');

DROP INDEX jobs_dead;
ALTER TABLE jobs
    DROP lease_expires_at,
    ADD CHECK ((lease_id IS NOT NULL) = (status = 'running')),
    ADD CHECK (dead = (status IN ('failed', 'cancelled', 'expired')));
CREATE INDEX jobs_dead ON jobs (merchant_id, id) WHERE dead;
ALTER TABLE jobs FORCE ROW LEVEL SECURITY;
