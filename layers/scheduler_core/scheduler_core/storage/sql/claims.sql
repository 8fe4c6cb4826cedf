-- name: claim_jobs
-- The one gate to an attempt (I2): waiting jobs among the hinted ones become running, under one lease for them all and
-- each with a new fence. IS TRUE keeps the due index out of it: where many jobs are due at one time its skip scan looks
-- cheap to the planner, and costs a search for each time that is due.
WITH hint AS (
    SELECT * FROM unnest(%(merchant_ids)s::uuid[], %(job_ids)s::uuid[]) AS hint (merchant_id, id)
), leased AS (
    INSERT INTO leases (id, expires_at, merchant_ids, job_ids)
    VALUES (%(lease_id)s, %(lease_expires_at)s, %(merchant_ids)s::uuid[], %(job_ids)s::uuid[])
)
UPDATE jobs
SET status = 'running', attempt = jobs.attempt + 1, due_at = jobs.next_run_at, next_run_at = NULL,
    lease_id = %(lease_id)s, last_run_at = %(now)s, updated_at = %(now)s
FROM hint
WHERE jobs.merchant_id = hint.merchant_id AND jobs.id = hint.id
  AND jobs.status = ANY (%(claimable)s::job_status[]) AND (jobs.next_run_at <= %(due_before)s) IS TRUE
RETURNING jobs.id, jobs.merchant_id, jobs.attempt, jobs.lease_id, jobs.due_at, jobs.expires_at, jobs.timeout_seconds,
    jobs.target, jobs.payload;

-- name: claimed_unheard_across_merchants
-- A claim was done and its answer lost: the lease is there. What still runs under it, as claim_jobs answers it.
WITH extended AS (
    UPDATE leases SET expires_at = %(lease_expires_at)s WHERE id = %(lease_id)s RETURNING id, merchant_ids, job_ids
)
SELECT jobs.id, jobs.merchant_id, jobs.attempt, jobs.lease_id, jobs.due_at, jobs.expires_at, jobs.timeout_seconds,
    jobs.target, jobs.payload
FROM extended CROSS JOIN LATERAL unnest(merchant_ids, job_ids) AS held (merchant_id, id)
JOIN jobs ON jobs.merchant_id = held.merchant_id AND jobs.id = held.id AND jobs.lease_id = extended.id;

-- name: due_page_across_merchants
-- The next jobs that fall due, in order, after a place in that order; some merchants left out. The place is a subquery to
-- hide it from the planner: where many jobs are due at one time it takes few to be left, and sorts all that are.
-- They come together by merchant and priority, because thousands of rows are most of what reading them costs: ids of 16
-- bytes and times of 8 one behind the other, as PostgreSQL sends them.
SELECT merchant_id, priority, string_agg(uuid_send(id), ''), string_agg(timestamptz_send(next_run_at), '')
FROM (
    SELECT merchant_id, id, next_run_at, priority
    FROM jobs
    WHERE (next_run_at, id) > ((SELECT %(after_due)s::timestamptz), (SELECT %(after_id)s::uuid)) AND next_run_at <= %(until)s
      AND merchant_id <> ALL (%(skipped)s::uuid[])
    ORDER BY next_run_at, id
    LIMIT %(most)s
) AS page
GROUP BY merchant_id, priority;

-- name: expire_waiting_across_merchants
-- Waiting jobs whose expires_at has passed end here.
UPDATE jobs
SET status = 'expired', dead = true, next_run_at = NULL, completed_at = %(now)s, updated_at = %(now)s,
    last_error = 'it was still waiting at expires_at'
FROM (
    SELECT merchant_id, id FROM jobs
    WHERE expires_at <= %(now)s AND next_run_at IS NOT NULL
    ORDER BY expires_at LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
) AS late
WHERE jobs.merchant_id = late.merchant_id AND jobs.id = late.id AND jobs.status = ANY (%(expirable)s::job_status[])
RETURNING jobs.merchant_id, jobs.id;

-- name: end_leases_across_merchants
-- Leases whose jobs have all ended, or are another's by now.
DELETE FROM leases WHERE id = ANY (%(leases)s::bigint[]);

-- name: end_rescued_leases_across_merchants
-- Leases under which nothing runs any more.
DELETE FROM leases
WHERE id = ANY (%(leases)s::bigint[]) AND NOT EXISTS (
    SELECT FROM unnest(leases.merchant_ids, leases.job_ids) AS held (merchant_id, id)
    JOIN jobs ON jobs.merchant_id = held.merchant_id AND jobs.id = held.id
    WHERE jobs.lease_id = leases.id
);

-- name: extend_leases
-- The heartbeat: what comes back is still this executor's; what is missing was cancelled or given to another.
WITH extended AS (
    UPDATE leases SET expires_at = %(lease_expires_at)s WHERE id = ANY (%(leases)s::bigint[]) RETURNING id
)
SELECT jobs.id, jobs.attempt
FROM unnest(%(merchant_ids)s::uuid[], %(job_ids)s::uuid[], %(attempts)s::int[]) AS held (merchant_id, id, attempt)
JOIN jobs ON jobs.merchant_id = held.merchant_id AND jobs.id = held.id
WHERE jobs.attempt = held.attempt AND jobs.lease_id IN (SELECT id FROM extended);

-- name: lock_expired_leases_across_merchants
-- Leases that have run out; locked, so that each is seen to once.
SELECT id FROM leases WHERE expires_at <= %(now)s ORDER BY expires_at LIMIT %(most)s FOR UPDATE SKIP LOCKED;

-- name: lock_lost_across_merchants
-- Jobs that run under these leases; locked, but for those whose end is being written at this moment.
SELECT jobs.id, jobs.merchant_id, jobs.attempt, due_at, retries, rescues, polls, max_retries, max_attempts,
    interval_seconds, schedule_type::text, template_id, priority, jobs.expires_at, retry_initial_seconds,
    retry_max_seconds, retry_multiplier
FROM leases CROSS JOIN LATERAL unnest(merchant_ids, job_ids) AS held (merchant_id, id)
JOIN jobs ON jobs.merchant_id = held.merchant_id AND jobs.id = held.id AND jobs.lease_id = leases.id
WHERE leases.id = ANY (%(leases)s::bigint[])
LIMIT %(most)s
FOR UPDATE OF jobs SKIP LOCKED;

-- name: merchant_limits_across_merchants
-- What the ready queue must honour for these merchants, and how their deliveries are signed.
SELECT id, active, weight, max_concurrency, rate_limit_per_second, signing_key_version, signing_key_rotated_at,
    allowed_target_arns
FROM merchants
WHERE id = ANY (%(merchant_ids)s::uuid[]);

-- name: next_lease_expiry_across_merchants
-- When the first lease runs out; no row: nothing is running.
SELECT expires_at FROM leases ORDER BY expires_at LIMIT 1;

-- name: oldest_due_across_merchants
-- When the job that waits longest was due; no row: nothing waits.
SELECT next_run_at FROM jobs WHERE next_run_at IS NOT NULL ORDER BY next_run_at LIMIT 1;

-- name: record_attempts
-- Attempts end: behind the fence (I3) the job moves on, the attempt is kept, and the minute's rates are added to.
-- An attempt that completes is kept in the job's own row, where nothing can follow it; any other is a row of executions.
WITH ended AS (
    SELECT * FROM unnest(
        %(merchant_id)s::uuid[], %(job_id)s::uuid[], %(attempt)s::int[], %(status)s::text[]::job_status[],
        %(outcome)s::text[]::attempt_outcome[], %(next_run_at)s::timestamptz[], %(retries)s::smallint[],
        %(rescues)s::smallint[], %(polls)s::int[], %(started_at)s::timestamptz[], %(finished_at)s::timestamptz[],
        %(http_status)s::smallint[], %(error)s::text[], %(response)s::text[]
    ) AS ended (
        merchant_id, job_id, attempt, status, outcome, next_run_at, retries, rescues, polls, started_at, finished_at,
        http_status, error, response
    )
), moved AS (
    UPDATE jobs
    SET status = ended.status, dead = ended.status IN ('failed', 'cancelled', 'expired'),
        next_run_at = ended.next_run_at, lease_id = NULL, retries = ended.retries, rescues = ended.rescues,
        polls = ended.polls, last_run_at = ended.started_at, last_error = ended.error, updated_at = %(now)s,
        completed_at = CASE WHEN ended.next_run_at IS NULL THEN ended.finished_at END,
        http_status = CASE WHEN ended.outcome = 'completed' THEN ended.http_status END,
        response = CASE WHEN ended.outcome = 'completed' THEN ended.response END
    FROM ended
    WHERE jobs.merchant_id = ended.merchant_id AND jobs.id = ended.job_id
      AND jobs.attempt = ended.attempt AND jobs.status = 'running'
    RETURNING ended.merchant_id, ended.job_id, ended.attempt, ended.outcome, jobs.due_at, ended.started_at,
        ended.finished_at, ended.http_status, ended.error, ended.response
), kept AS (
    INSERT INTO executions
        (merchant_id, job_id, attempt, outcome, due_at, started_at, finished_at, http_status, error, response)
    SELECT merchant_id, job_id, attempt, outcome, due_at, started_at, finished_at, http_status, error, response
    FROM moved WHERE outcome <> 'completed'
), unleased AS (
    DELETE FROM leases WHERE id = ANY (%(leases)s::bigint[])
), counted AS (
    INSERT INTO throughput AS sum (merchant_id, minute, executor_id, completed, failed, retried)
    SELECT merchant_id, date_trunc('minute', %(now)s::timestamptz), %(executor_id)s,
        count(*) FILTER (WHERE outcome = 'completed'), count(*) FILTER (WHERE outcome IN ('failed', 'expired')),
        count(*) FILTER (WHERE outcome IN ('retried', 'lost'))
    FROM moved GROUP BY merchant_id
    ON CONFLICT (merchant_id, minute, executor_id) DO UPDATE
    SET completed = sum.completed + excluded.completed, failed = sum.failed + excluded.failed,
        retried = sum.retried + excluded.retried
)
-- Null: all were written; else which, so that nothing is said of each where there is nothing to say.
SELECT CASE WHEN (SELECT count(*) FROM moved) < (SELECT count(*) FROM ended) THEN
    coalesce((SELECT array_agg(replace(job_id::text, '-', '') || ':' || attempt) FROM moved), '{}')
END;

-- name: record_completions
-- Attempts end that complete their jobs, as nearly all do: as record_attempts, but for what stays as it is.
WITH moved AS (
    UPDATE jobs
    SET status = 'completed', lease_id = NULL, last_run_at = ended.started_at, last_error = NULL, updated_at = %(now)s,
        completed_at = ended.finished_at, http_status = ended.http_status, response = ended.response
    FROM unnest(
        %(merchant_id)s::uuid[], %(job_id)s::uuid[], %(attempt)s::int[], %(started_at)s::timestamptz[],
        %(finished_at)s::timestamptz[], %(http_status)s::smallint[], %(response)s::text[]
    ) AS ended (merchant_id, job_id, attempt, started_at, finished_at, http_status, response)
    WHERE jobs.merchant_id = ended.merchant_id AND jobs.id = ended.job_id
      AND jobs.attempt = ended.attempt AND jobs.status = 'running'
    RETURNING jobs.merchant_id
), unleased AS (
    DELETE FROM leases WHERE id = ANY (%(leases)s::bigint[])
), counted AS (
    INSERT INTO throughput AS sum (merchant_id, minute, executor_id, completed)
    SELECT merchant_id, date_trunc('minute', %(now)s::timestamptz), %(executor_id)s, count(*)
    FROM moved GROUP BY merchant_id
    ON CONFLICT (merchant_id, minute, executor_id) DO UPDATE SET completed = sum.completed + excluded.completed
)
SELECT count(*) FROM moved;

-- name: running_jobs
-- What decides how these jobs go on; what is missing is not under this attempt any more.
SELECT jobs.id, jobs.merchant_id, jobs.attempt, due_at, retries, rescues, polls, max_retries, max_attempts,
    interval_seconds, schedule_type::text, template_id, priority, jobs.expires_at, retry_initial_seconds,
    retry_max_seconds, retry_multiplier
FROM unnest(%(merchant_ids)s::uuid[], %(job_ids)s::uuid[], %(attempts)s::int[]) AS held (merchant_id, id, attempt)
JOIN jobs ON jobs.merchant_id = held.merchant_id AND jobs.id = held.id
WHERE jobs.attempt = held.attempt AND jobs.status = 'running';
