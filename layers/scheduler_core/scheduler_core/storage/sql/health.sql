-- name: ping
-- purpose: find out whether the database answers
SELECT 1
