-- name: add_runs
-- purpose: make jobs of runs; one that exists stays as it is (I5), unless it was withdrawn unstarted: then it comes back
INSERT INTO jobs AS held (
    id, merchant_id, template_id, nominal_at, schedule_type, status, priority, max_retries, timeout_seconds,
    retry_initial_seconds, retry_max_seconds, retry_multiplier, scheduled_at, next_run_at, created_at, updated_at,
    target, payload, metadata)
SELECT run.id, template.merchant_id, template.id, run.nominal_at, 'recurring', 'pending', template.priority,
    template.max_retries, template.timeout_seconds, template.retry_initial_seconds, template.retry_max_seconds,
    template.retry_multiplier, run.scheduled_at, greatest(run.scheduled_at, %(now)s), %(now)s, %(now)s,
    template.target, template.payload, template.metadata
FROM unnest(%(template_ids)s::uuid[], %(ids)s::uuid[], %(nominal_ats)s::timestamptz[], %(scheduled_ats)s::timestamptz[])
    AS run (template_id, id, nominal_at, scheduled_at)
JOIN templates AS template ON template.id = run.template_id
ON CONFLICT (merchant_id, id) DO UPDATE
SET status = 'pending', dead = false, completed_at = NULL, last_error = NULL, scheduled_at = excluded.scheduled_at,
    next_run_at = excluded.next_run_at, priority = excluded.priority, max_retries = excluded.max_retries,
    timeout_seconds = excluded.timeout_seconds, retry_initial_seconds = excluded.retry_initial_seconds,
    retry_max_seconds = excluded.retry_max_seconds, retry_multiplier = excluded.retry_multiplier,
    updated_at = excluded.updated_at, target = excluded.target, payload = excluded.payload, metadata = excluded.metadata
WHERE held.status = 'cancelled' AND held.attempt = 0 AND held.last_error = ANY (%(withdrawals)s::text[])
RETURNING template_id, merchant_id, id, next_run_at, priority

-- name: advance
-- purpose: move templates on behind the runs that were made, each only from where it stood
UPDATE templates
SET next_nominal_at = step.next_nominal_at, last_nominal_at = coalesce(step.last_nominal_at, templates.last_nominal_at),
    runs = templates.runs + step.made
FROM unnest(%(ids)s::uuid[], %(stood_at)s::timestamptz[], %(next_nominal_ats)s::timestamptz[],
            %(last_nominal_ats)s::timestamptz[], %(made)s::integer[])
    AS step (id, stood_at, next_nominal_at, last_nominal_at, made)
WHERE templates.id = step.id AND templates.active AND templates.next_nominal_at = step.stood_at

-- name: change_template
-- purpose: write a template that was locked, changed and judged
UPDATE templates
SET name = %(name)s, description = %(description)s, active = %(active)s, paused_reason = %(paused_reason)s,
    cron = %(cron)s, interval_seconds = %(interval_seconds)s, timezone = %(timezone)s, start_at = %(start_at)s,
    end_at = %(end_at)s, max_runs = %(max_runs)s, jitter_seconds = %(jitter_seconds)s, catch_up = %(catch_up)s,
    catch_up_window_seconds = %(catch_up_window_seconds)s, target = %(target)s::json, payload = %(payload)s::json,
    metadata = %(metadata)s::json, priority = %(priority)s, max_retries = %(max_retries)s,
    retry_initial_seconds = %(retry_initial_seconds)s, retry_max_seconds = %(retry_max_seconds)s,
    retry_multiplier = %(retry_multiplier)s, timeout_seconds = %(timeout_seconds)s, runs = %(runs)s,
    last_nominal_at = %(last_nominal_at)s, next_nominal_at = %(next_nominal_at)s, updated_at = %(updated_at)s
WHERE merchant_id = %(merchant_id)s AND id = %(id)s

-- name: create_template
-- purpose: store a new template, unless its merchant has one of that name
INSERT INTO templates (
    id, merchant_id, name, description, active, cron, interval_seconds, timezone, start_at, end_at, max_runs,
    jitter_seconds, catch_up, catch_up_window_seconds, target, payload, metadata, priority, max_retries,
    retry_initial_seconds, retry_max_seconds, retry_multiplier, timeout_seconds, next_nominal_at, created_at, updated_at)
VALUES (
    %(id)s, %(merchant_id)s, %(name)s, %(description)s, %(active)s, %(cron)s, %(interval_seconds)s, %(timezone)s,
    %(start_at)s, %(end_at)s, %(max_runs)s, %(jitter_seconds)s, %(catch_up)s, %(catch_up_window_seconds)s,
    %(target)s::json, %(payload)s::json, %(metadata)s::json, %(priority)s, %(max_retries)s, %(retry_initial_seconds)s,
    %(retry_max_seconds)s, %(retry_multiplier)s, %(timeout_seconds)s, %(next_nominal_at)s, %(created_at)s, %(updated_at)s)
ON CONFLICT (merchant_id, name) DO NOTHING

-- name: delete_template
-- purpose: remove a template; its jobs stay
DELETE FROM templates WHERE merchant_id = %(merchant_id)s AND id = %(id)s

-- name: end_of_scan
-- purpose: the last template that a page's scan looked at, if there are more behind it
SELECT id FROM templates
WHERE merchant_id = %(merchant_id)s AND id < %(before)s
ORDER BY id DESC OFFSET %(scan)s - 1 LIMIT 1

-- name: lock_due_across_merchants
-- purpose: take the templates with runs to make inside the look-ahead, furthest behind first, past those that are taken
SELECT template.id, template.merchant_id, template.active, cron, interval_seconds, timezone, start_at, end_at,
    template.created_at, max_runs, jitter_seconds, catch_up, catch_up_window_seconds, runs, last_nominal_at,
    next_nominal_at, coalesce(pg_column_size(payload), 0) + pg_column_size(target) + pg_column_size(metadata)
FROM templates AS template
JOIN merchants AS merchant ON merchant.id = template.merchant_id AND merchant.active
WHERE template.active AND next_nominal_at IS NOT NULL AND next_nominal_at <= %(until)s
  AND template.id <> ALL (%(left_out)s::uuid[])
ORDER BY next_nominal_at
LIMIT %(most)s
FOR UPDATE OF template SKIP LOCKED

-- name: lock_template
-- purpose: hold a template until the end of the transaction
SELECT id FROM templates WHERE merchant_id = %(merchant_id)s AND id = %(id)s FOR UPDATE

-- name: page_of_templates
-- purpose: the ids of a page of templates, newest first, looking at the next so many
SELECT id FROM (
    SELECT id, active FROM templates
    WHERE merchant_id = %(merchant_id)s AND id < %(before)s AND (%(name)s::text IS NULL OR name = %(name)s)
    ORDER BY id DESC LIMIT %(scan)s
) AS scanned
WHERE %(active)s::boolean IS NULL OR active = %(active)s
ORDER BY id DESC LIMIT %(limit)s

-- name: pause_template
-- purpose: stop an active template
UPDATE templates
SET active = false, paused_reason = %(reason)s, next_nominal_at = NULL, updated_at = %(now)s
WHERE merchant_id = %(merchant_id)s AND id = %(id)s AND active
RETURNING id

-- name: read_templates
-- purpose: whole templates by their ids, newest first, up to so many bytes of bodies but at least one
SELECT id, merchant_id, active, cron, interval_seconds, timezone, start_at, end_at, created_at, max_runs,
    jitter_seconds, catch_up, catch_up_window_seconds, runs, last_nominal_at, next_nominal_at, name, description,
    paused_reason, target::text, payload::text, metadata::text, priority, max_retries, retry_initial_seconds,
    retry_max_seconds, retry_multiplier, timeout_seconds, updated_at, (
        SELECT coalesce(nominal_at, scheduled_at) FROM jobs
        WHERE jobs.merchant_id = %(merchant_id)s AND template_id = found.id AND jobs.id < %(lowest_id_now)s
          AND status <> 'cancelled'
        ORDER BY jobs.id DESC LIMIT 1)
FROM (
    SELECT *, sum(octet_length(target::text) + coalesce(octet_length(payload::text), 0)
                  + octet_length(metadata::text)) OVER newest AS bytes, row_number() OVER newest AS place
    FROM templates
    WHERE merchant_id = %(merchant_id)s AND id = ANY (%(ids)s::uuid[])
    WINDOW newest AS (ORDER BY id DESC ROWS UNBOUNDED PRECEDING)
) AS found
WHERE place = 1 OR bytes <= %(most_bytes)s
ORDER BY id DESC

-- name: refresh_runs
-- purpose: give runs that wait unstarted what their template now says
WITH waiting AS (
    SELECT id FROM jobs
    WHERE merchant_id = %(merchant_id)s AND template_id = %(id)s AND next_run_at IS NOT NULL
      AND status = 'pending' AND attempt = 0 AND nominal_at IS NOT NULL
    ORDER BY id
    FOR UPDATE SKIP LOCKED
)
UPDATE jobs
SET target = template.target, payload = template.payload, metadata = template.metadata, priority = template.priority,
    max_retries = template.max_retries, timeout_seconds = template.timeout_seconds,
    retry_initial_seconds = template.retry_initial_seconds, retry_max_seconds = template.retry_max_seconds,
    retry_multiplier = template.retry_multiplier, updated_at = %(now)s
FROM waiting, templates AS template
WHERE jobs.merchant_id = %(merchant_id)s AND jobs.id = waiting.id
  AND template.merchant_id = %(merchant_id)s AND template.id = %(id)s
RETURNING jobs.merchant_id, jobs.id, jobs.next_run_at, jobs.priority

-- name: run_template_now
-- purpose: make a job of a template outside its schedule: without a nominal time, due now
INSERT INTO jobs (
    id, merchant_id, template_id, schedule_type, status, priority, max_retries, timeout_seconds, retry_initial_seconds,
    retry_max_seconds, retry_multiplier, scheduled_at, next_run_at, created_at, updated_at, target, payload, metadata)
SELECT %(job_id)s, merchant_id, id, 'recurring', 'pending', priority, max_retries, timeout_seconds,
    retry_initial_seconds, retry_max_seconds, retry_multiplier, %(now)s, %(now)s, %(now)s, %(now)s,
    target, payload, metadata
FROM templates
WHERE merchant_id = %(merchant_id)s AND id = %(id)s
RETURNING merchant_id, id, next_run_at, priority

-- name: uncount_runs
-- purpose: take withdrawn runs out of the count; none is made for a time to come any more
UPDATE templates
SET runs = greatest(runs - %(withdrawn)s, 0), last_nominal_at = least(last_nominal_at, %(now)s)
WHERE merchant_id = %(merchant_id)s AND id = %(id)s

-- name: withdraw_runs
-- purpose: cancel a template's runs that wait unstarted, after a nominal time; one that is being claimed is past that
WITH waiting AS (
    SELECT id FROM jobs
    WHERE merchant_id = %(merchant_id)s AND template_id = %(id)s AND next_run_at IS NOT NULL
      AND status = 'pending' AND attempt = 0
      AND (nominal_at > %(after)s OR (%(with_extra)s AND nominal_at IS NULL))
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
)
UPDATE jobs
SET status = 'cancelled', dead = true, next_run_at = NULL, completed_at = %(now)s, updated_at = %(now)s,
    last_error = %(reason)s
FROM waiting
WHERE jobs.merchant_id = %(merchant_id)s AND jobs.id = waiting.id
RETURNING jobs.nominal_at
