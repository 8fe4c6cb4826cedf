-- name: record_action
-- purpose: remember who changed what, in the transaction that changes it
INSERT INTO audit_log (id, merchant_id, actor, action, resource, created_at)
VALUES (%(id)s, %(merchant_id)s, %(actor)s, %(action)s, %(resource)s, %(now)s)
