-- The whole schema of the scheduler. Append-only from here on: a change is a new file.
--
-- Ids are UUIDv7, so their order is the order of creation. jobs, executions and audit_log are partitioned by id
-- range, a week each: a look-up by id touches one partition, and retention is a DROP.

CREATE TYPE job_status AS ENUM ('pending', 'running', 'retrying', 'completed', 'failed', 'cancelled', 'expired');
CREATE TYPE schedule_type AS ENUM ('one_time', 'recurring', 'polling');
CREATE TYPE attempt_outcome AS ENUM ('completed', 'not_yet', 'retried', 'failed', 'cancelled', 'expired', 'lost');
CREATE TYPE user_role AS ENUM ('super_admin', 'merchant_admin', 'merchant_member');

-- Tenants -----------------------------------------------------------------------------------------------------------

CREATE TABLE merchants (
    id                    uuid PRIMARY KEY,
    name                  text NOT NULL UNIQUE CHECK (name <> ''),
    active                boolean NOT NULL DEFAULT true,
    weight                smallint NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 100),
    max_concurrency       integer CHECK (max_concurrency > 0),
    rate_limit_per_second integer CHECK (rate_limit_per_second > 0),
    signing_key_version   integer NOT NULL DEFAULT 1 CHECK (signing_key_version > 0),
    signing_key_rotated_at timestamptz,
    allowed_target_arns   text[] NOT NULL DEFAULT '{}',
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL
);
COMMENT ON COLUMN merchants.weight IS 'share of the executors relative to other merchants when there is more work than room';
COMMENT ON COLUMN merchants.signing_key_version IS 'signing secrets are derived from the installation''s key and this number; none is stored';

CREATE TABLE users (
    id          uuid PRIMARY KEY,
    merchant_id uuid REFERENCES merchants (id),
    email       text NOT NULL UNIQUE,
    role        user_role NOT NULL,
    active      boolean NOT NULL DEFAULT true,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    CHECK ((role = 'super_admin') = (merchant_id IS NULL))
);
COMMENT ON TABLE users IS 'owned by the user-management backend; the scheduler never reads it';

CREATE TABLE api_keys (
    id            text PRIMARY KEY CHECK (id ~ '^[0-9A-Za-z]{12}$'),
    merchant_id   uuid NOT NULL REFERENCES merchants (id),
    name          text NOT NULL,
    environment   text NOT NULL CHECK (environment ~ '^[a-z][a-z0-9]{0,15}$'),
    secret_sha256 bytea NOT NULL CHECK (octet_length(secret_sha256) = 32),
    permissions   text[] NOT NULL
        CHECK (permissions <@ ARRAY['jobs:read', 'jobs:write', 'templates:read', 'templates:write']),
    active        boolean NOT NULL DEFAULT true,
    expires_at    timestamptz,
    last_used_at  timestamptz,
    created_at    timestamptz NOT NULL,
    revoked_at    timestamptz
);
CREATE INDEX api_keys_of_a_merchant ON api_keys (merchant_id);

-- Templates ---------------------------------------------------------------------------------------------------------

CREATE TABLE templates (
    id                      uuid PRIMARY KEY,
    merchant_id             uuid NOT NULL REFERENCES merchants (id),
    name                    text NOT NULL CHECK (name <> ''),
    description             text,
    active                  boolean NOT NULL DEFAULT true,
    paused_reason           text,
    cron                    text,
    interval_seconds        integer CHECK (interval_seconds > 0),
    timezone                text NOT NULL DEFAULT 'UTC',
    start_at                timestamptz,
    end_at                  timestamptz,
    max_runs                integer CHECK (max_runs > 0),
    jitter_seconds          integer NOT NULL DEFAULT 0 CHECK (jitter_seconds >= 0),
    catch_up                text NOT NULL DEFAULT 'once' CHECK (catch_up IN ('once', 'all', 'none')),
    catch_up_window_seconds integer NOT NULL DEFAULT 86400 CHECK (catch_up_window_seconds >= 0),
    target                  json NOT NULL,
    payload                 json,
    metadata                json NOT NULL,
    priority                smallint NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100),
    max_retries             smallint NOT NULL DEFAULT 3 CHECK (max_retries BETWEEN 0 AND 100),
    retry_initial_seconds   double precision NOT NULL,
    retry_max_seconds       double precision NOT NULL,
    retry_multiplier        double precision NOT NULL,
    timeout_seconds         smallint NOT NULL DEFAULT 30 CHECK (timeout_seconds BETWEEN 1 AND 300),
    runs                    integer NOT NULL DEFAULT 0,
    last_nominal_at         timestamptz,
    next_nominal_at         timestamptz,
    created_at              timestamptz NOT NULL,
    updated_at              timestamptz NOT NULL,
    UNIQUE (merchant_id, name),
    CHECK ((cron IS NULL) <> (interval_seconds IS NULL))
);
COMMENT ON COLUMN templates.next_nominal_at IS 'the first nominal time not yet materialised; null: there is none';
COMMENT ON COLUMN templates.runs IS 'runs materialised so far, counted against max_runs';
CREATE INDEX templates_due ON templates (next_nominal_at) WHERE active AND next_nominal_at IS NOT NULL;
CREATE INDEX templates_listed ON templates (merchant_id, id);

-- Jobs --------------------------------------------------------------------------------------------------------------
-- No foreign keys here: a key check per inserted row costs more than the row, merchants are never deleted, and a
-- deleted template leaves its history behind.

CREATE TABLE jobs (
    id                    uuid NOT NULL,
    merchant_id           uuid NOT NULL,
    template_id           uuid,
    nominal_at            timestamptz,
    schedule_type         schedule_type NOT NULL,
    status                job_status NOT NULL DEFAULT 'pending',
    priority              smallint NOT NULL CHECK (priority BETWEEN -100 AND 100),
    attempt               integer NOT NULL DEFAULT 0,
    retries               smallint NOT NULL DEFAULT 0,
    rescues               smallint NOT NULL DEFAULT 0,
    polls                 integer NOT NULL DEFAULT 0,
    max_retries           smallint NOT NULL CHECK (max_retries BETWEEN 0 AND 100),
    max_attempts          integer CHECK (max_attempts > 0),
    interval_seconds      integer CHECK (interval_seconds > 0),
    timeout_seconds       smallint NOT NULL CHECK (timeout_seconds BETWEEN 1 AND 300),
    retry_initial_seconds double precision NOT NULL,
    retry_max_seconds     double precision NOT NULL,
    retry_multiplier      double precision NOT NULL,
    scheduled_at          timestamptz NOT NULL,
    next_run_at           timestamptz,
    due_at                timestamptz,
    lease_expires_at      timestamptz,
    expires_at            timestamptz,
    last_run_at           timestamptz,
    completed_at          timestamptz,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    reference_id          text,
    last_error            text,
    target                json NOT NULL,
    payload               json,
    metadata              json NOT NULL,
    PRIMARY KEY (merchant_id, id),
    CHECK ((next_run_at IS NOT NULL) = (status IN ('pending', 'retrying'))),
    CHECK ((lease_expires_at IS NOT NULL) = (status = 'running')),
    CHECK ((completed_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled', 'expired')))
) PARTITION BY RANGE (id);
COMMENT ON COLUMN jobs.attempt IS 'counts claims and never goes back: the fence of every result';
COMMENT ON COLUMN jobs.retries IS 'retries spent since the job was made or last redriven; max_retries bounds it';
COMMENT ON COLUMN jobs.rescues IS 'how often its executor was lost; spends no retry';
COMMENT ON COLUMN jobs.due_at IS 'when the latest claimed attempt was due';

CREATE INDEX jobs_due ON jobs (next_run_at, id) INCLUDE (merchant_id, priority) WHERE next_run_at IS NOT NULL;
CREATE INDEX jobs_leased ON jobs (lease_expires_at) WHERE lease_expires_at IS NOT NULL;
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE expires_at IS NOT NULL AND next_run_at IS NOT NULL;
CREATE INDEX jobs_dead ON jobs (merchant_id, id) WHERE status IN ('failed', 'cancelled', 'expired');
CREATE INDEX jobs_of_a_template ON jobs (merchant_id, template_id, id) WHERE template_id IS NOT NULL;
CREATE INDEX jobs_of_a_reference ON jobs (merchant_id, reference_id, id) WHERE reference_id IS NOT NULL;

CREATE TABLE executions (
    job_id      uuid NOT NULL,
    merchant_id uuid NOT NULL,
    attempt     integer NOT NULL,
    outcome     attempt_outcome NOT NULL,
    due_at      timestamptz,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    http_status smallint,
    error       text,
    response    text,
    PRIMARY KEY (merchant_id, job_id, attempt)
) PARTITION BY RANGE (job_id);
COMMENT ON TABLE executions IS 'one row per attempt, written when the attempt ends; partitioned with its job';

CREATE TABLE audit_log (
    id          uuid NOT NULL,
    merchant_id uuid NOT NULL,
    actor       text NOT NULL,
    action      text NOT NULL,
    resource    text NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, id)
) PARTITION BY RANGE (id);

-- Rows whose week has no partition yet, or no longer. Upkeep moves them where they belong.
CREATE TABLE jobs_default PARTITION OF jobs DEFAULT;
CREATE TABLE executions_default PARTITION OF executions DEFAULT;
CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;

-- Requests, rates, alerts -------------------------------------------------------------------------------------------

CREATE TABLE idempotency_keys (
    merchant_id    uuid NOT NULL,
    key            text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    request_sha256 bytea NOT NULL CHECK (octet_length(request_sha256) = 32),
    status         smallint,
    location       text,
    body           json,
    expires_at     timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, key)
);
CREATE INDEX idempotency_keys_expiring ON idempotency_keys (expires_at);

CREATE TABLE throughput (
    merchant_id uuid NOT NULL,
    minute      timestamptz NOT NULL,
    executor_id uuid NOT NULL,
    completed   integer NOT NULL DEFAULT 0,
    failed      integer NOT NULL DEFAULT 0,
    retried     integer NOT NULL DEFAULT 0,
    PRIMARY KEY (merchant_id, minute, executor_id)
);
COMMENT ON TABLE throughput IS 'attempts ended per minute: what /stats adds up instead of counting history';
CREATE INDEX throughput_by_age ON throughput (minute);

CREATE TABLE alerts (
    kind        text NOT NULL,
    subject     text NOT NULL,
    window_start timestamptz NOT NULL,
    detail      json NOT NULL,
    sent_at     timestamptz NOT NULL,
    PRIMARY KEY (kind, subject, window_start)
);
COMMENT ON TABLE alerts IS 'one row per alert sent: the key keeps an alert from being sent twice';

-- Roles -------------------------------------------------------------------------------------------------------------
-- scheduler_api sees one merchant, the one in scheduler.merchant_id; scheduler_worker sees all. Neither owns anything,
-- so neither can switch row-level security off.

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['scheduler_api', 'scheduler_worker'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE', wanted);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- roles belong to the whole server: another database has made it
        END;
        BEGIN
            EXECUTE format('GRANT %I TO %I', wanted, current_user); -- making a role does not mean that one may act as it
        EXCEPTION WHEN insufficient_privilege THEN
            IF NOT pg_has_role(current_user, wanted, 'MEMBER') THEN
                RAISE;
            END IF;
        END;
    END LOOP;
END
$$;

CREATE FUNCTION current_merchant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('scheduler.merchant_id', true), '')::uuid;
COMMENT ON FUNCTION current_merchant IS 'the merchant of this transaction; null, and so no row at all, where none is set';

DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY['merchants', 'users', 'api_keys', 'templates', 'jobs', 'executions', 'audit_log',
                                  'idempotency_keys', 'throughput'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', walled);
        EXECUTE format('CREATE POLICY of_this_merchant ON %I TO scheduler_api USING (%I = (SELECT current_merchant()))
                        WITH CHECK (%2$I = (SELECT current_merchant()))',
                       walled, CASE walled WHEN 'merchants' THEN 'id' ELSE 'merchant_id' END);
        IF walled <> 'users' THEN
            EXECUTE format('CREATE POLICY across_merchants ON %I TO scheduler_worker USING (true) WITH CHECK (true)', walled);
        END IF;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA public TO scheduler_api, scheduler_worker;
GRANT SELECT ON merchants, executions, throughput TO scheduler_api;
GRANT SELECT, INSERT, UPDATE ON jobs TO scheduler_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON templates, idempotency_keys TO scheduler_api;
GRANT INSERT ON executions, audit_log TO scheduler_api;
GRANT SELECT, INSERT, UPDATE ON merchants, api_keys, templates, jobs TO scheduler_worker;
GRANT SELECT, INSERT ON executions, audit_log TO scheduler_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON throughput, alerts TO scheduler_worker;
GRANT SELECT, DELETE ON idempotency_keys TO scheduler_worker;

-- Partition upkeep --------------------------------------------------------------------------------------------------
-- Run as the owner, because only an owner may create and drop: the worker calls these two and nothing else of the kind.

CREATE FUNCTION lowest_id(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid;
COMMENT ON FUNCTION lowest_id IS 'the smallest UUIDv7 that can be made at a moment';

CREATE FUNCTION add_partitions(wanted_from timestamptz, wanted_to timestamptz) RETURNS integer
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
                           part, parent, CASE parent WHEN 'jobs' THEN 85 ELSE 100 END);
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
COMMENT ON FUNCTION add_partitions IS 'makes the weeks'' partitions that are missing in a span; answers how many';

CREATE FUNCTION drop_partitions(keep_from timestamptz, most_survivors integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
    old_week text;
    survivors uuid[];
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('scheduler.partitions'));
    FOR old_week IN
        SELECT right(c.relname, 7) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'jobs'::regclass AND c.relname ~ '^jobs_\d{4}w\d{2}$'
          AND to_date(right(c.relname, 7), 'IYYY"w"IW') + 7 <= keep_from
        ORDER BY 1 LIMIT 4
    LOOP
        -- A job that still lives, or ended a short while ago, outlives its week in the default partition.
        EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM %I WHERE completed_at IS NULL OR completed_at >= %L LIMIT %s) s',
                       'jobs_' || old_week, keep_from, most_survivors + 1) INTO survivors;
        CONTINUE WHEN cardinality(survivors) > most_survivors;
        EXECUTE format('ALTER TABLE jobs DETACH PARTITION %I', 'jobs_' || old_week);
        EXECUTE format('INSERT INTO jobs_default SELECT * FROM %I WHERE id = ANY(%L)', 'jobs_' || old_week, survivors);
        EXECUTE format('DROP TABLE %I', 'jobs_' || old_week);
        IF to_regclass('executions_' || old_week) IS NOT NULL THEN
            EXECUTE format('ALTER TABLE executions DETACH PARTITION %I', 'executions_' || old_week);
            EXECUTE format('INSERT INTO executions_default SELECT * FROM %I WHERE job_id = ANY(%L)', 'executions_' || old_week, survivors);
            EXECUTE format('DROP TABLE %I', 'executions_' || old_week);
        END IF;
        EXECUTE format('DROP TABLE IF EXISTS %I', 'audit_log_' || old_week);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;
COMMENT ON FUNCTION drop_partitions IS 'drops whole weeks that ended before a moment; a week with too many living jobs waits; answers how many';

REVOKE ALL ON FUNCTION add_partitions(timestamptz, timestamptz), drop_partitions(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION add_partitions(timestamptz, timestamptz), drop_partitions(timestamptz, integer) TO scheduler_worker;

-- The weeks around today, so that the first job finds its place; the watcher keeps on from here.
SELECT add_partitions(now() - interval '7 days', now() + interval '28 days');
