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

-- Room beside each job for its later versions: completing one is then a HOT update, and the table does not grow by what
-- its rows go through. Of what is filled already nothing changes.
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'jobs'::regclass LOOP
        EXECUTE format('ALTER TABLE %s SET (fillfactor = 60)', part);
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION add_partitions(wanted_from timestamptz, wanted_to timestamptz) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
    parent text;
    part text;
    id_column text;
    week timestamptz;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('scheduler.partitions'));
    FOR week IN SELECT generate_series(date_trunc('week', wanted_from), wanted_to, interval '7 days') LOOP
        FOREACH parent IN ARRAY ARRAY['jobs', 'executions', 'audit_log'] LOOP
            part := parent || '_' || to_char(week, 'IYYY"w"IW');
            CONTINUE WHEN to_regclass(part) IS NOT NULL;
            id_column := CASE parent WHEN 'executions' THEN 'job_id' ELSE 'id' END;
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS) WITH (fillfactor = %s)',
                           part, parent, CASE parent WHEN 'jobs' THEN 60 ELSE 100 END);
            EXECUTE format('WITH moved AS (DELETE FROM %1$I WHERE %2$I >= %3$L AND %2$I < %4$L RETURNING *) INSERT INTO %5$I SELECT * FROM moved',
                           parent || '_default', id_column, lowest_id(week), lowest_id(week + interval '7 days'), part);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                           parent, part, lowest_id(week), lowest_id(week + interval '7 days'));
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;
