-- Accounts, and the one claim that makes the appliance somebody's.

-- name: claim :value
-- None when the appliance is claimed already.
INSERT INTO claims (slot, claimed_at) VALUES (1, :now)
ON CONFLICT (slot) DO NOTHING
RETURNING id;

-- name: is_claimed :value
SELECT count(*) FROM claims;

-- name: add :one
-- None when the username is taken.
INSERT INTO users (username, username_key, full_name, status, role, created_at, updated_at)
VALUES (:username, :username_key, :full_name, 'active', :role, :now, :now)
ON CONFLICT (username_key) DO NOTHING
RETURNING id, username, role, status;

-- name: first_super_admin :one
-- None before the claim.
SELECT id, username, role, status FROM users WHERE role = 'super_admin' AND status = 'active' ORDER BY id LIMIT 1;
