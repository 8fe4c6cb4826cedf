-- name: create_api_key
-- purpose: store a new key; its secret is known here only by its hash
INSERT INTO api_keys (id, merchant_id, name, environment, secret_sha256, permissions, expires_at, created_at)
VALUES (%(id)s, %(merchant_id)s, %(name)s, %(environment)s, %(secret_sha256)s, %(permissions)s, %(expires_at)s, %(now)s)
RETURNING id, merchant_id, name, environment, permissions, active, expires_at, last_used_at, created_at, revoked_at

-- name: find_api_key_across_merchants
-- purpose: what the authorizer needs to know about a key, by the key's id
SELECT k.id, k.merchant_id, k.environment, k.secret_sha256, k.permissions, k.expires_at, k.last_used_at,
       k.active AND k.revoked_at IS NULL AND m.active
FROM api_keys k JOIN merchants m ON m.id = k.merchant_id
WHERE k.id = %(id)s

-- name: get_api_key
-- purpose: one key of a merchant, without its hash
SELECT id, merchant_id, name, environment, permissions, active, expires_at, last_used_at, created_at, revoked_at
FROM api_keys
WHERE merchant_id = %(merchant_id)s AND id = %(id)s

-- name: limit_api_key
-- purpose: let a key that is being replaced end at a moment, never later than it would have
UPDATE api_keys SET expires_at = least(expires_at, %(expires_at)s)
WHERE merchant_id = %(merchant_id)s AND id = %(id)s AND active AND revoked_at IS NULL
RETURNING id

-- name: list_api_keys
-- purpose: the keys of a merchant, oldest first, without their hashes
SELECT id, merchant_id, name, environment, permissions, active, expires_at, last_used_at, created_at, revoked_at
FROM api_keys
WHERE merchant_id = %(merchant_id)s
ORDER BY created_at, id
LIMIT %(limit)s

-- name: note_api_key_use
-- purpose: write last_used_at at most once a minute, however many authorizers race
UPDATE api_keys SET last_used_at = %(now)s
WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at <= %(now)s - interval '1 minute')

-- name: revoke_api_key
-- purpose: end a key now and for good
UPDATE api_keys SET active = false, revoked_at = %(now)s
WHERE merchant_id = %(merchant_id)s AND id = %(id)s AND revoked_at IS NULL
RETURNING id
