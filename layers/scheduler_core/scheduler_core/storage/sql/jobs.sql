-- name: cancel_job
-- purpose: end a job at its producer's wish; a running attempt is recorded as cancelled, so that its result finds no place
WITH held AS (
    SELECT id, merchant_id, status, attempt, due_at, last_run_at FROM jobs
    WHERE merchant_id = %(merchant_id)s AND id = %(id)s AND status = ANY (%(allowed)s::job_status[])
    FOR UPDATE
), ended AS (
    INSERT INTO executions (job_id, merchant_id, attempt, outcome, due_at, started_at, finished_at)
    SELECT id, merchant_id, attempt, 'cancelled', due_at, coalesce(last_run_at, %(now)s), %(now)s
    FROM held WHERE status = 'running'
)
UPDATE jobs
SET status = 'cancelled', dead = true, next_run_at = NULL, lease_id = NULL, completed_at = %(now)s, updated_at = %(now)s
FROM held
WHERE jobs.merchant_id = %(merchant_id)s AND jobs.id = %(id)s
RETURNING held.status = 'running'

-- name: count_jobs
-- purpose: the newest jobs by status, at most so many of them, and the oldest that is due among them
SELECT status, count(*), min(created_at), min(next_run_at) FILTER (WHERE next_run_at <= %(now)s)
FROM (
    SELECT status, created_at, next_run_at FROM jobs
    WHERE merchant_id = %(merchant_id)s
    ORDER BY id DESC LIMIT %(most)s
) AS newest
GROUP BY status

-- name: edit_job
-- purpose: change a job that waits; a new scheduled_at moves the next run, and must lie before expires_at
UPDATE jobs
SET scheduled_at = coalesce(%(scheduled_at)s, scheduled_at),
    next_run_at = CASE WHEN %(scheduled_at)s::timestamptz IS NULL THEN next_run_at
                       ELSE greatest(%(scheduled_at)s, %(now)s) END,
    priority = coalesce(%(priority)s, priority),
    max_retries = coalesce(%(max_retries)s, max_retries),
    timeout_seconds = coalesce(%(timeout_seconds)s, timeout_seconds),
    target = coalesce(%(target)s::json, target),
    metadata = coalesce(%(metadata)s::json, metadata),
    payload = CASE WHEN %(sets_payload)s THEN %(payload)s::json ELSE payload END,
    updated_at = %(now)s
WHERE merchant_id = %(merchant_id)s AND id = %(id)s AND status = ANY (%(allowed)s::job_status[])
  AND (%(scheduled_at)s::timestamptz IS NULL OR expires_at IS NULL
       OR expires_at > greatest(%(scheduled_at)s, %(now)s))
RETURNING id

-- name: insert_job
-- purpose: store one job in a transaction of its own; the merchant's walls are set with the row, and then it is checked against them
INSERT INTO jobs (
    id, merchant_id, schedule_type, status, priority, max_retries, max_attempts, interval_seconds, timeout_seconds,
    retry_initial_seconds, retry_max_seconds, retry_multiplier, scheduled_at, next_run_at, expires_at, created_at,
    updated_at, reference_id, target, payload, metadata)
VALUES (
    %(id)s, set_config('scheduler.merchant_id', %(merchant_id)s, true)::uuid, %(schedule_type)s, 'pending',
    %(priority)s, %(max_retries)s, %(max_attempts)s, %(interval_seconds)s, %(timeout_seconds)s,
    %(retry_initial_seconds)s, %(retry_max_seconds)s, %(retry_multiplier)s, %(scheduled_at)s,
    greatest(%(scheduled_at)s, %(now)s), %(expires_at)s, %(now)s, %(now)s, %(reference_id)s, %(target)s, %(payload)s,
    %(metadata)s)

-- name: insert_jobs
-- purpose: store up to a thousand jobs; arrays side by side in the target list are not copied once more, as in FROM
INSERT INTO jobs (
    id, merchant_id, schedule_type, status, priority, max_retries, max_attempts, interval_seconds, timeout_seconds,
    retry_initial_seconds, retry_max_seconds, retry_multiplier, scheduled_at, next_run_at, expires_at, created_at,
    updated_at, reference_id, target, payload, metadata)
SELECT id, %(merchant_id)s, schedule_type::schedule_type, 'pending', priority, max_retries, max_attempts,
    interval_seconds, timeout_seconds, retry_initial_seconds, retry_max_seconds, retry_multiplier, scheduled_at,
    greatest(scheduled_at, %(now)s), expires_at, %(now)s, %(now)s, reference_id, target, payload, metadata
FROM (
    SELECT unnest(%(id)s::uuid[]) AS id, unnest(%(schedule_type)s::text[]) AS schedule_type,
        unnest(%(priority)s::smallint[]) AS priority, unnest(%(max_retries)s::smallint[]) AS max_retries,
        unnest(%(max_attempts)s::integer[]) AS max_attempts,
        unnest(%(interval_seconds)s::integer[]) AS interval_seconds,
        unnest(%(timeout_seconds)s::smallint[]) AS timeout_seconds,
        unnest(%(retry_initial_seconds)s::float8[]) AS retry_initial_seconds,
        unnest(%(retry_max_seconds)s::float8[]) AS retry_max_seconds,
        unnest(%(retry_multiplier)s::float8[]) AS retry_multiplier,
        unnest(%(scheduled_at)s::timestamptz[]) AS scheduled_at, unnest(%(expires_at)s::timestamptz[]) AS expires_at,
        unnest(%(reference_id)s::text[]) AS reference_id, unnest(%(target)s::json[]) AS target,
        unnest(%(payload)s::json[]) AS payload, unnest(%(metadata)s::json[]) AS metadata
) AS new

-- name: job_status
-- purpose: why a guarded change found nothing to change
SELECT status, expires_at FROM jobs WHERE merchant_id = %(merchant_id)s AND id = %(id)s

-- name: list_executions
-- purpose: the attempts of a job, first to last, after one of them; the one that completed it is in the job's row
SELECT attempt, outcome, due_at, started_at, finished_at, http_status, error, response
FROM executions
WHERE merchant_id = %(merchant_id)s AND job_id = %(job_id)s AND attempt > %(after)s
UNION ALL
SELECT attempt, 'completed', due_at, last_run_at, completed_at, http_status, NULL, response
FROM jobs
WHERE merchant_id = %(merchant_id)s AND id = %(job_id)s AND attempt > %(after)s AND status = 'completed'
  AND NOT EXISTS (
    SELECT FROM executions
    WHERE merchant_id = %(merchant_id)s AND job_id = %(job_id)s AND attempt = jobs.attempt
  )
ORDER BY attempt
LIMIT %(limit)s

-- name: page_of_all
-- purpose: ids of matching jobs, newest first, among the next 10,000
SELECT id FROM (
    SELECT id, status, template_id, reference_id, scheduled_at FROM jobs
    WHERE merchant_id = %(merchant_id)s AND id < %(before)s
    ORDER BY id DESC LIMIT %(scan)s
) AS scanned
WHERE (%(statuses)s::job_status[] IS NULL OR status = ANY (%(statuses)s::job_status[]))
  AND (%(scheduled_from)s::timestamptz IS NULL OR scheduled_at >= %(scheduled_from)s)
  AND (%(scheduled_to)s::timestamptz IS NULL OR scheduled_at < %(scheduled_to)s)
ORDER BY id DESC OFFSET %(offset)s LIMIT %(limit)s

-- name: page_of_dead
-- purpose: the same among the next 10,000 jobs that failed, expired or were cancelled
SELECT id FROM (
    SELECT id, status, scheduled_at FROM jobs
    WHERE merchant_id = %(merchant_id)s AND id < %(before)s AND dead
    ORDER BY id DESC LIMIT %(scan)s
) AS scanned
WHERE (%(statuses)s::job_status[] IS NULL OR status = ANY (%(statuses)s::job_status[]))
  AND (%(scheduled_from)s::timestamptz IS NULL OR scheduled_at >= %(scheduled_from)s)
  AND (%(scheduled_to)s::timestamptz IS NULL OR scheduled_at < %(scheduled_to)s)
ORDER BY id DESC OFFSET %(offset)s LIMIT %(limit)s

-- name: page_of_reference
-- purpose: the same among the next 10,000 jobs with a reference
SELECT id FROM (
    SELECT id, status, template_id, scheduled_at FROM jobs
    WHERE merchant_id = %(merchant_id)s AND reference_id = %(reference_id)s AND id < %(before)s
    ORDER BY id DESC LIMIT %(scan)s
) AS scanned
WHERE (%(statuses)s::job_status[] IS NULL OR status = ANY (%(statuses)s::job_status[]))
  AND (%(template_id)s::uuid IS NULL OR template_id = %(template_id)s)
  AND (%(scheduled_from)s::timestamptz IS NULL OR scheduled_at >= %(scheduled_from)s)
  AND (%(scheduled_to)s::timestamptz IS NULL OR scheduled_at < %(scheduled_to)s)
ORDER BY id DESC OFFSET %(offset)s LIMIT %(limit)s

-- name: page_of_template
-- purpose: the same among the next 10,000 jobs of a template
SELECT id FROM (
    SELECT id, status, scheduled_at FROM jobs
    WHERE merchant_id = %(merchant_id)s AND template_id = %(template_id)s AND id < %(before)s
    ORDER BY id DESC LIMIT %(scan)s
) AS scanned
WHERE (%(statuses)s::job_status[] IS NULL OR status = ANY (%(statuses)s::job_status[]))
  AND (%(scheduled_from)s::timestamptz IS NULL OR scheduled_at >= %(scheduled_from)s)
  AND (%(scheduled_to)s::timestamptz IS NULL OR scheduled_at < %(scheduled_to)s)
ORDER BY id DESC OFFSET %(offset)s LIMIT %(limit)s

-- name: read_jobs
-- purpose: whole jobs by their ids, newest first, up to so many bytes of bodies but at least one
SELECT id, template_id, nominal_at, schedule_type, status, priority, attempt, retries, polls, max_retries, max_attempts,
    interval_seconds, timeout_seconds, retry_initial_seconds, retry_max_seconds, retry_multiplier, scheduled_at,
    next_run_at, expires_at, last_run_at, completed_at, created_at, updated_at, reference_id, last_error,
    target::text, payload::text, metadata::text
FROM (
    SELECT *, sum(octet_length(target::text) + coalesce(octet_length(payload::text), 0)
                  + octet_length(metadata::text)) OVER newest AS bytes, row_number() OVER newest AS place
    FROM jobs
    WHERE merchant_id = %(merchant_id)s AND id = ANY (%(ids)s::uuid[]) AND id BETWEEN %(first_id)s AND %(last_id)s
    WINDOW newest AS (ORDER BY id DESC ROWS UNBOUNDED PRECEDING)
) AS found
WHERE place = 1 OR bytes <= %(most_bytes)s
ORDER BY id DESC

-- name: recent_throughput
-- purpose: attempts that ended since a moment, added up
SELECT coalesce(sum(completed), 0), coalesce(sum(failed), 0)
FROM throughput
WHERE merchant_id = %(merchant_id)s AND minute > %(since)s

-- name: redrive_job
-- purpose: start a dead job's life again, due now; the attempt counts on, and an expiry that has passed is dropped
UPDATE jobs
SET status = 'pending', dead = false, retries = 0, rescues = 0, polls = 0, next_run_at = %(now)s, completed_at = NULL,
    expires_at = CASE WHEN expires_at > %(now)s THEN expires_at END, updated_at = %(now)s
WHERE merchant_id = %(merchant_id)s AND id = %(id)s AND status = ANY (%(allowed)s::job_status[])
RETURNING id

-- name: run_job_now
-- purpose: make a waiting job due now
UPDATE jobs
SET next_run_at = %(now)s, updated_at = %(now)s
WHERE merchant_id = %(merchant_id)s AND id = %(id)s AND status = ANY (%(allowed)s::job_status[])
RETURNING id

-- name: waiting_jobs
-- purpose: what the ready set must know of those of these jobs that wait
SELECT id, next_run_at, priority
FROM jobs
WHERE merchant_id = %(merchant_id)s AND id = ANY (%(ids)s::uuid[]) AND id BETWEEN %(first_id)s AND %(last_id)s
  AND next_run_at IS NOT NULL
