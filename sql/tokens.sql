-- Access tokens: looked up by the SHA-256 of the secret, listed without it.

-- name: add :one
-- None when the secret exists already, which 256 random bits rule out.
INSERT INTO tokens (user_id, name, prefix, secret_sha256, scopes, created_at, expires_at)
VALUES (:user_id, :name, :prefix, :secret_sha256, :scopes, :now, :expires_at)
ON CONFLICT (secret_sha256) DO NOTHING
RETURNING id, user_id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at;

-- name: holder :one
-- The token with this secret and its owner; None when nobody was ever given it.
SELECT
    tokens.id, tokens.name, tokens.scopes, tokens.expires_at, tokens.last_used_at, tokens.revoked_at,
    tokens.user_id, users.username, users.role, users.status
FROM tokens JOIN users ON users.id = tokens.user_id
WHERE tokens.secret_sha256 = :secret_sha256;

-- name: own :many
SELECT id, user_id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at
FROM tokens
WHERE user_id = :user_id AND id > :after
ORDER BY id
LIMIT :limit;

-- name: count_own :value
SELECT count(*) FROM tokens WHERE user_id = :user_id;

-- name: own_by_id :one
-- None when there is none, or it is somebody else's.
SELECT id, user_id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at
FROM tokens
WHERE id = :id AND user_id = :user_id;

-- name: revoke :exec
UPDATE tokens SET revoked_at = :now WHERE id = :id AND user_id = :user_id AND revoked_at IS NULL;

-- name: revoke_others :exec
-- All of the user's but the one in use; `keep` 0 spares none.
UPDATE tokens SET revoked_at = :now WHERE user_id = :user_id AND id <> :keep AND revoked_at IS NULL;

-- name: touch :exec
UPDATE tokens SET last_used_at = :now WHERE id = :id;
