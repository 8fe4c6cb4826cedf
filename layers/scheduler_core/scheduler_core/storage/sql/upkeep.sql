-- name: add_partitions
-- The weeks of a span have partitions.
SELECT add_partitions(%(wanted_from)s, %(wanted_to)s);

-- name: dead_letters_across_merchants
-- Merchants with jobs that failed for good in a span, and how many.
SELECT merchant_id, sum(failed)::int FROM throughput
WHERE minute >= %(since)s AND minute < %(until)s AND failed > 0
GROUP BY merchant_id ORDER BY 2 DESC LIMIT %(most)s;

-- name: delete_old_throughput_across_merchants
-- Rates that nobody asks for any more, a page at a time.
DELETE FROM throughput
WHERE ctid = ANY (ARRAY(SELECT ctid FROM throughput WHERE minute < %(before)s ORDER BY minute LIMIT %(most)s));

-- name: delete_spent_idempotency_keys_across_merchants
-- Idempotency keys past their 24 hours, a page at a time.
DELETE FROM idempotency_keys
WHERE ctid = ANY (ARRAY(SELECT ctid FROM idempotency_keys WHERE expires_at <= %(now)s ORDER BY expires_at LIMIT %(most)s));

-- name: drop_partitions
-- Weeks that ended before the retention period are gone; a week with too many living jobs waits.
SELECT drop_partitions(%(keep_from)s, %(most_survivors)s);

-- name: register_alert
-- An alert may be sent: answers a row the first time in its window, and none after that.
INSERT INTO alerts (kind, subject, window_start, detail, sent_at)
VALUES (%(kind)s, %(subject)s, %(window_start)s, %(detail)s, %(now)s)
ON CONFLICT DO NOTHING
RETURNING kind;

-- name: throughput_of_a_minute_across_merchants
-- Attempts that completed and that failed for good in one whole minute.
SELECT coalesce(sum(completed), 0)::int, coalesce(sum(failed), 0)::int FROM throughput WHERE minute = %(minute)s;
