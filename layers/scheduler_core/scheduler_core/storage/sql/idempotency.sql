-- name: first_answer
-- purpose: what was answered to the first request with this key
SELECT request_sha256, status, location, body::text
FROM idempotency_keys
WHERE merchant_id = %(merchant_id)s AND key = %(key)s

-- name: keep_answer
-- purpose: store the answer, in the transaction that does what was asked
UPDATE idempotency_keys SET status = %(status)s, location = %(location)s, body = %(body)s
WHERE merchant_id = %(merchant_id)s AND key = %(key)s

-- name: take_key
-- purpose: be the first with this key: waits for a rival's commit, answers no row to the loser, replaces an expired key
INSERT INTO idempotency_keys AS held (merchant_id, key, request_sha256, expires_at)
VALUES (%(merchant_id)s, %(key)s, %(request_sha256)s, %(expires_at)s)
ON CONFLICT (merchant_id, key) DO UPDATE
SET request_sha256 = excluded.request_sha256, expires_at = excluded.expires_at,
    status = NULL, location = NULL, body = NULL
WHERE held.expires_at <= %(now)s
RETURNING true
