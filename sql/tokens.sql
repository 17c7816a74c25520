-- Access tokens: looked up by the SHA-256 of the secret, listed without it.

-- name: add :one
-- None when the secret exists already, which 256 random bits rule out.
INSERT INTO tokens (user_id, name, prefix, secret_sha256, scopes, allowed_ips, created_at, expires_at)
VALUES (:user_id, :name, :prefix, :secret_sha256, :scopes, :allowed_ips, :now, :expires_at)
ON CONFLICT (secret_sha256) DO NOTHING
RETURNING id, user_id, name, prefix, scopes, allowed_ips, created_at, expires_at, last_used_at, revoked_at;

-- name: holder :one
-- The token with this secret, or with this one before it was replaced; None when nobody was ever given it.
SELECT
    id, name, scopes, allowed_ips, expires_at, last_used_at, revoked_at,
    CASE WHEN secret_sha256 = :secret_sha256 THEN 0 ELSE 1 END AS old, old_until, user_id
FROM tokens
WHERE secret_sha256 = :secret_sha256 OR old_sha256 = CAST(:secret_sha256 AS TEXT);

-- name: page :many
-- Of one user, or with `everyone` of all, or of all in a group.
SELECT id, user_id, name, prefix, scopes, allowed_ips, created_at, expires_at, last_used_at, revoked_at
FROM tokens
WHERE id > :after
    AND (
        :everyone = 1 OR user_id = CAST(:user_id AS BIGINT)
        OR user_id IN (SELECT users.id FROM users WHERE users.group_id = CAST(:group_id AS BIGINT))
    )
    AND (
        CAST(:state AS TEXT) IS NULL
        OR :state = CASE
            WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= :now THEN 'expired' ELSE 'active'
        END
    )
ORDER BY id
LIMIT :limit;

-- name: count :value
-- As `page`, on all pages together.
SELECT count(*)
FROM tokens
WHERE (
        :everyone = 1 OR user_id = CAST(:user_id AS BIGINT)
        OR user_id IN (SELECT users.id FROM users WHERE users.group_id = CAST(:group_id AS BIGINT))
    )
    AND (
        CAST(:state AS TEXT) IS NULL
        OR :state = CASE
            WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= :now THEN 'expired' ELSE 'active'
        END
    );

-- name: by_id :one
-- None when there is none, or it is not one of the caller's nor within the caller's reach.
SELECT id, user_id, name, prefix, scopes, allowed_ips, created_at, expires_at, last_used_at, revoked_at
FROM tokens
WHERE id = :id AND (
    :everyone = 1 OR user_id = :user_id
    OR user_id IN (SELECT users.id FROM users WHERE users.group_id = CAST(:group_id AS BIGINT))
);

-- name: revoke :exec
UPDATE tokens SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL;

-- name: revoke_others :exec
-- All of the user's but the one in use; `keep` 0 spares none.
UPDATE tokens SET revoked_at = :now WHERE user_id = :user_id AND id <> :keep AND revoked_at IS NULL;

-- name: replace_secret :exec
-- The secret that was works until `old_until`, the one before it no longer. No row: the token is revoked.
UPDATE tokens
SET prefix = :prefix, old_sha256 = secret_sha256, old_until = :old_until, secret_sha256 = :secret_sha256
WHERE id = :id AND revoked_at IS NULL;

-- name: set_allowed_ips :exec
UPDATE tokens SET allowed_ips = :allowed_ips WHERE id = :id;

-- name: touch :exec
UPDATE tokens SET last_used_at = :now WHERE id = :id;
