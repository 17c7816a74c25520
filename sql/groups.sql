-- Groups; who belongs to which stands with the accounts.

-- name: page :many
SELECT
    id, name, uniform_number, max_allowed_streams,
    (SELECT count(*) FROM users WHERE users.group_id = groups.id) AS user_count, revision, created_at, updated_at
FROM groups
WHERE id > :after
ORDER BY id
LIMIT :limit;

-- name: count :value
SELECT count(*) FROM groups;

-- name: by_id :one
-- None when there is none.
SELECT
    id, name, uniform_number, max_allowed_streams,
    (SELECT count(*) FROM users WHERE users.group_id = groups.id) AS user_count, revision, created_at, updated_at
FROM groups
WHERE id = :id;

-- name: add :value
-- The new id; None when the number is taken.
INSERT INTO groups (name, uniform_number, max_allowed_streams, created_at, updated_at)
VALUES (:name, :uniform_number, :max_allowed_streams, :now, :now)
ON CONFLICT (uniform_number) DO NOTHING
RETURNING id;

-- name: update :exec
-- No row: another group has the number.
UPDATE groups
SET
    name = :name, uniform_number = :uniform_number, max_allowed_streams = :max_allowed_streams,
    revision = revision + 1, updated_at = :now
WHERE id = :id
    AND NOT EXISTS (
        SELECT 1 FROM groups AS others WHERE others.uniform_number = :uniform_number AND others.id <> :id
    );

-- name: remove :exec
DELETE FROM groups WHERE id = :id;
