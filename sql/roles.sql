-- Roles, and which accounts have which beside their first one.

-- name: page :many
SELECT
    id, name, label, description, built_in, grants, revision, created_at, updated_at,
    (SELECT count(*) FROM users WHERE users.role = roles.name)
    + (SELECT count(*) FROM user_roles WHERE user_roles.role_id = roles.id) AS user_count
FROM roles
WHERE id > :after
ORDER BY id
LIMIT :limit;

-- name: count :value
SELECT count(*) FROM roles;

-- name: by_id :one
-- None when there is none.
SELECT
    id, name, label, description, built_in, grants, revision, created_at, updated_at,
    (SELECT count(*) FROM users WHERE users.role = roles.name)
    + (SELECT count(*) FROM user_roles WHERE user_roles.role_id = roles.id) AS user_count
FROM roles
WHERE id = :id;

-- name: by_name :one
-- None when there is none.
SELECT
    id, name, label, description, built_in, grants, revision, created_at, updated_at,
    (SELECT count(*) FROM users WHERE users.role = roles.name)
    + (SELECT count(*) FROM user_roles WHERE user_roles.role_id = roles.id) AS user_count
FROM roles
WHERE name = :name;

-- name: add :value
-- The new id; None when the name is taken.
INSERT INTO roles (name, label, description, grants, created_at, updated_at)
VALUES (:name, :label, :description, :grants, :now, :now)
ON CONFLICT (name) DO NOTHING
RETURNING id;

-- name: update :exec
UPDATE roles
SET label = :label, description = :description, grants = :grants, revision = revision + 1, updated_at = :now
WHERE id = :id;

-- name: remove :exec
-- No row: it is built in, or an account has it.
DELETE FROM roles
WHERE id = :id AND built_in = 0
    AND NOT EXISTS (SELECT 1 FROM users WHERE users.role = roles.name)
    AND NOT EXISTS (SELECT 1 FROM user_roles WHERE user_roles.role_id = roles.id);

-- name: clear_further :exec
DELETE FROM user_roles WHERE user_id = :user_id;

-- name: add_further :exec
INSERT INTO user_roles (user_id, role_id) VALUES (:user_id, :role_id);

-- name: take_further :exec
-- Takes one role beside the first from an account.
DELETE FROM user_roles
WHERE user_id = :user_id AND role_id IN (SELECT roles.id FROM roles WHERE roles.name = :name);

-- name: scopes_of_token :one
-- None when the account has no such token.
SELECT scopes, expires_at, revoked_at FROM tokens WHERE id = :id AND user_id = :user_id;
