-- name: create_merchant
-- purpose: store a new merchant
INSERT INTO merchants (id, name, weight, max_concurrency, rate_limit_per_second, allowed_target_arns, created_at, updated_at)
VALUES (%(id)s, %(name)s, %(weight)s, %(max_concurrency)s, %(rate_limit_per_second)s, %(allowed_target_arns)s, %(now)s, %(now)s)
ON CONFLICT (name) DO NOTHING
RETURNING id, name, active, weight, max_concurrency, rate_limit_per_second, signing_key_version,
          signing_key_rotated_at, allowed_target_arns, created_at, updated_at

-- name: find_merchant_by_name
-- purpose: a merchant by its unique name
SELECT id, name, active, weight, max_concurrency, rate_limit_per_second, signing_key_version,
       signing_key_rotated_at, allowed_target_arns, created_at, updated_at
FROM merchants
WHERE name = %(name)s

-- name: get_merchant
-- purpose: a merchant by its id
SELECT id, name, active, weight, max_concurrency, rate_limit_per_second, signing_key_version,
       signing_key_rotated_at, allowed_target_arns, created_at, updated_at
FROM merchants
WHERE id = %(id)s

-- name: list_merchants
-- purpose: a page of all merchants, in order of creation
SELECT id, name, active, weight, max_concurrency, rate_limit_per_second, signing_key_version,
       signing_key_rotated_at, allowed_target_arns, created_at, updated_at
FROM merchants
WHERE %(after)s::uuid IS NULL OR id > %(after)s
ORDER BY id
LIMIT %(limit)s

-- name: rotate_signing_key
-- purpose: take the next signing secret into use; the previous one keeps signing for a day
UPDATE merchants
SET signing_key_version = signing_key_version + 1, signing_key_rotated_at = %(now)s, updated_at = %(now)s
WHERE id = %(id)s
RETURNING id, name, active, weight, max_concurrency, rate_limit_per_second, signing_key_version,
          signing_key_rotated_at, allowed_target_arns, created_at, updated_at

-- name: target_arns_allowed
-- purpose: the ARN patterns that a merchant's jobs may name as targets
SELECT allowed_target_arns FROM merchants WHERE id = %(id)s
