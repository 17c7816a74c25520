-- Writes the trail and reads it. Rows are only removed by what bounds it, and never changed.
--
-- The table grows, so each filter that picks few rows has statements of its own, driven by its index; the others are
-- asked of the rows it finds. A page begins behind the position (`latest`, `before_id`) and ends at `since`.

-- name: add :exec
INSERT INTO audit (
    at, kind, request_id, actor_id, actor_name, token_id, session_id, ip, method, path, route, status, authorized,
    reason, action, target, group_id
) VALUES (
    :at, :kind, :request_id, :actor_id, :actor_name, :token_id, :session_id, :ip, :method, :path, :route, :status,
    :authorized, :reason, :action, :target, :group_id
);

-- name: page :many
-- All, the newest first.
-- lint: filtered because nearly all rows are authorized
SELECT
    id, at, kind, request_id, actor_id, actor_name, token_id, session_id, ip, method, path, route, status, authorized,
    reason, action, target
FROM audit
WHERE at >= :since
    AND at <= :latest AND (at < :latest OR id < :before_id)
    AND (CAST(:authorized AS BIGINT) IS NULL OR authorized = :authorized)
ORDER BY at DESC, id DESC
LIMIT :limit;

-- name: count :value
-- lint: filtered because it counts them all
SELECT count(*)
FROM audit
WHERE at >= :since
    AND at <= :latest AND (at < :latest OR id < :before_id)
    AND (CAST(:authorized AS BIGINT) IS NULL OR authorized = :authorized);

-- name: page_of_token :many
-- Those of one access token.
SELECT
    id, at, kind, request_id, actor_id, actor_name, token_id, session_id, ip, method, path, route, status, authorized,
    reason, action, target
FROM audit
WHERE token_id = :token_id
    AND at >= :since
    AND at <= :latest AND (at < :latest OR id < :before_id)
    AND (CAST(:actor_id AS BIGINT) IS NULL OR actor_id = :actor_id)
    AND (CAST(:action AS TEXT) IS NULL OR action = :action)
    AND (CAST(:target AS TEXT) IS NULL OR target = :target)
    AND (CAST(:authorized AS BIGINT) IS NULL OR authorized = :authorized)
    AND (
        :everyone = 1 OR actor_id = CAST(:self_id AS BIGINT) OR group_id = CAST(:own_group_id AS BIGINT)
    )
ORDER BY at DESC, id DESC
LIMIT :limit;

-- name: count_of_token :value
SELECT count(*)
FROM audit
WHERE token_id = :token_id
    AND at >= :since
    AND at <= :latest AND (at < :latest OR id < :before_id)
    AND (CAST(:actor_id AS BIGINT) IS NULL OR actor_id = :actor_id)
    AND (CAST(:action AS TEXT) IS NULL OR action = :action)
    AND (CAST(:target AS TEXT) IS NULL OR target = :target)
    AND (CAST(:authorized AS BIGINT) IS NULL OR authorized = :authorized)
    AND (
        :everyone = 1 OR actor_id = CAST(:self_id AS BIGINT) OR group_id = CAST(:own_group_id AS BIGINT)
    );

-- name: page_about :many
-- Those that tell of one thing.
SELECT
    id, at, kind, request_id, actor_id, actor_name, token_id, session_id, ip, method, path, route, status, authorized,
    reason, action, target
FROM audit
WHERE target = :target
    AND at >= :since
    AND at <= :latest AND (at < :latest OR id < :before_id)
    AND (CAST(:actor_id AS BIGINT) IS NULL OR actor_id = :actor_id)
    AND (CAST(:token_id AS BIGINT) IS NULL OR token_id = :token_id)
    AND (CAST(:action AS TEXT) IS NULL OR action = :action)
    AND (CAST(:authorized AS BIGINT) IS NULL OR authorized = :authorized)
    AND (
        :everyone = 1 OR actor_id = CAST(:self_id AS BIGINT) OR group_id = CAST(:own_group_id AS BIGINT)
    )
ORDER BY at DESC, id DESC
LIMIT :limit;

-- name: count_about :value
SELECT count(*)
FROM audit
WHERE target = :target
    AND at >= :since
    AND at <= :latest AND (at < :latest OR id < :before_id)
    AND (CAST(:actor_id AS BIGINT) IS NULL OR actor_id = :actor_id)
    AND (CAST(:token_id AS BIGINT) IS NULL OR token_id = :token_id)
    AND (CAST(:action AS TEXT) IS NULL OR action = :action)
    AND (CAST(:authorized AS BIGINT) IS NULL OR authorized = :authorized)
    AND (
        :everyone = 1 OR actor_id = CAST(:self_id AS BIGINT) OR group_id = CAST(:own_group_id AS BIGINT)
    );

-- name: page_by :many
-- Those of one account.
SELECT
    id, at, kind, request_id, actor_id, actor_name, token_id, session_id, ip, method, path, route, status, authorized,
    reason, action, target
FROM audit
WHERE actor_id = :actor_id
    AND at >= :since
    AND at <= :latest AND (at < :latest OR id < :before_id)
    AND (CAST(:token_id AS BIGINT) IS NULL OR token_id = :token_id)
    AND (CAST(:action AS TEXT) IS NULL OR action = :action)
    AND (CAST(:target AS TEXT) IS NULL OR target = :target)
    AND (CAST(:authorized AS BIGINT) IS NULL OR authorized = :authorized)
    AND (
        :everyone = 1 OR actor_id = CAST(:self_id AS BIGINT) OR group_id = CAST(:own_group_id AS BIGINT)
    )
ORDER BY at DESC, id DESC
LIMIT :limit;

-- name: count_by :value
SELECT count(*)
FROM audit
WHERE actor_id = :actor_id
    AND at >= :since
    AND at <= :latest AND (at < :latest OR id < :before_id)
    AND (CAST(:token_id AS BIGINT) IS NULL OR token_id = :token_id)
    AND (CAST(:action AS TEXT) IS NULL OR action = :action)
    AND (CAST(:target AS TEXT) IS NULL OR target = :target)
    AND (CAST(:authorized AS BIGINT) IS NULL OR authorized = :authorized)
    AND (
        :everyone = 1 OR actor_id = CAST(:self_id AS BIGINT) OR group_id = CAST(:own_group_id AS BIGINT)
    );

-- name: page_doing :many
-- Those of one kind of change.
SELECT
    id, at, kind, request_id, actor_id, actor_name, token_id, session_id, ip, method, path, route, status, authorized,
    reason, action, target
FROM audit
WHERE action = :action
    AND at >= :since
    AND at <= :latest AND (at < :latest OR id < :before_id)
    AND (CAST(:actor_id AS BIGINT) IS NULL OR actor_id = :actor_id)
    AND (CAST(:token_id AS BIGINT) IS NULL OR token_id = :token_id)
    AND (CAST(:target AS TEXT) IS NULL OR target = :target)
    AND (CAST(:authorized AS BIGINT) IS NULL OR authorized = :authorized)
    AND (
        :everyone = 1 OR actor_id = CAST(:self_id AS BIGINT) OR group_id = CAST(:own_group_id AS BIGINT)
    )
ORDER BY at DESC, id DESC
LIMIT :limit;

-- name: count_doing :value
SELECT count(*)
FROM audit
WHERE action = :action
    AND at >= :since
    AND at <= :latest AND (at < :latest OR id < :before_id)
    AND (CAST(:actor_id AS BIGINT) IS NULL OR actor_id = :actor_id)
    AND (CAST(:token_id AS BIGINT) IS NULL OR token_id = :token_id)
    AND (CAST(:target AS TEXT) IS NULL OR target = :target)
    AND (CAST(:authorized AS BIGINT) IS NULL OR authorized = :authorized)
    AND (
        :everyone = 1 OR actor_id = CAST(:self_id AS BIGINT) OR group_id = CAST(:own_group_id AS BIGINT)
    );

-- name: page_refused :many
-- Those of calls that were not let in.
SELECT
    id, at, kind, request_id, actor_id, actor_name, token_id, session_id, ip, method, path, route, status, authorized,
    reason, action, target
FROM audit
WHERE authorized = 0
    AND at >= :since
    AND at <= :latest AND (at < :latest OR id < :before_id)
    AND (CAST(:actor_id AS BIGINT) IS NULL OR actor_id = :actor_id)
    AND (CAST(:token_id AS BIGINT) IS NULL OR token_id = :token_id)
    AND (CAST(:action AS TEXT) IS NULL OR action = :action)
    AND (CAST(:target AS TEXT) IS NULL OR target = :target)
    AND (
        :everyone = 1 OR actor_id = CAST(:self_id AS BIGINT) OR group_id = CAST(:own_group_id AS BIGINT)
    )
ORDER BY at DESC, id DESC
LIMIT :limit;

-- name: count_refused :value
SELECT count(*)
FROM audit
WHERE authorized = 0
    AND at >= :since
    AND at <= :latest AND (at < :latest OR id < :before_id)
    AND (CAST(:actor_id AS BIGINT) IS NULL OR actor_id = :actor_id)
    AND (CAST(:token_id AS BIGINT) IS NULL OR token_id = :token_id)
    AND (CAST(:action AS TEXT) IS NULL OR action = :action)
    AND (CAST(:target AS TEXT) IS NULL OR target = :target)
    AND (
        :everyone = 1 OR actor_id = CAST(:self_id AS BIGINT) OR group_id = CAST(:own_group_id AS BIGINT)
    );

-- name: page_of_group :many
-- Those of a group's people, as they belonged to it then.
SELECT
    id, at, kind, request_id, actor_id, actor_name, token_id, session_id, ip, method, path, route, status, authorized,
    reason, action, target
FROM audit
WHERE group_id = :own_group_id
    AND at >= :since
    AND at <= :latest AND (at < :latest OR id < :before_id)
    AND (CAST(:actor_id AS BIGINT) IS NULL OR actor_id = :actor_id)
    AND (CAST(:token_id AS BIGINT) IS NULL OR token_id = :token_id)
    AND (CAST(:action AS TEXT) IS NULL OR action = :action)
    AND (CAST(:target AS TEXT) IS NULL OR target = :target)
    AND (CAST(:authorized AS BIGINT) IS NULL OR authorized = :authorized)
ORDER BY at DESC, id DESC
LIMIT :limit;

-- name: count_of_group :value
SELECT count(*)
FROM audit
WHERE group_id = :own_group_id
    AND at >= :since
    AND at <= :latest AND (at < :latest OR id < :before_id)
    AND (CAST(:actor_id AS BIGINT) IS NULL OR actor_id = :actor_id)
    AND (CAST(:token_id AS BIGINT) IS NULL OR token_id = :token_id)
    AND (CAST(:action AS TEXT) IS NULL OR action = :action)
    AND (CAST(:target AS TEXT) IS NULL OR target = :target)
    AND (CAST(:authorized AS BIGINT) IS NULL OR authorized = :authorized);

-- name: after :many
-- What was written behind the row `after`, in the order of writing: for those who follow. Its few rows are found by
-- `id`; the text of `at` is compared so that no index of it is taken for that.
SELECT
    id, at, kind, request_id, actor_id, actor_name, token_id, session_id, ip, method, path, route, status, authorized,
    reason, action, target
FROM audit
WHERE id > :after
    AND at || '' >= :since AND at || '' < :latest
    AND (CAST(:actor_id AS BIGINT) IS NULL OR actor_id = :actor_id)
    AND (CAST(:token_id AS BIGINT) IS NULL OR token_id = :token_id)
    AND (CAST(:action AS TEXT) IS NULL OR action = :action)
    AND (CAST(:target AS TEXT) IS NULL OR target = :target)
    AND (CAST(:authorized AS BIGINT) IS NULL OR authorized = :authorized)
    AND (
        :everyone = 1 OR actor_id = CAST(:self_id AS BIGINT) OR group_id = CAST(:own_group_id AS BIGINT)
    )
ORDER BY id
LIMIT :limit;

-- name: newest :one
-- The row that was written last; None when there is none.
SELECT id, at FROM audit ORDER BY id DESC LIMIT 1;

-- name: last_before :value
-- None when there is none before it.
SELECT at FROM audit WHERE at < :at ORDER BY at DESC, id DESC LIMIT 1;

-- name: first_from :value
-- None when there is none from it on.
SELECT at FROM audit WHERE at >= :at ORDER BY at, id LIMIT 1;

-- name: size :value
SELECT count(*) FROM audit;

-- name: forget_older :exec
-- At most `limit` of the oldest rows, where they are from before an instant.
DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < :before ORDER BY at, id LIMIT :limit);

-- name: oldest_reads :many
-- At most `limit` rows of calls that were let in and changed nothing, the oldest first, from an instant on.
SELECT id, at
FROM audit
WHERE at >= :since AND kind = 'call' AND authorized = 1
ORDER BY at, id
LIMIT :limit;

-- name: forget :exec
DELETE FROM audit WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(:ids));

-- name: forget_oldest :exec
-- At most `limit` rows of any kind, the oldest first.
DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY at, id LIMIT :limit);
