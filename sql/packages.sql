-- Packages, their download attempts and their activations. Every change of a state is one guarded UPDATE.

-- name: add :one
-- None when this name and version exist.
INSERT INTO packages (name, version, status, created_at, updated_at)
VALUES (:name, :version, 'created', :now, :now)
ON CONFLICT (name, version) DO NOTHING
RETURNING
    id, name, version, status, store_path, closure_bytes, failure, failure_detail, created_at, updated_at,
    downloaded_at, activated_at, revision;

-- name: by_id :one
-- None when there is none.
SELECT
    id, name, version, status, store_path, closure_bytes, failure, failure_detail, created_at, updated_at,
    downloaded_at, activated_at, revision
FROM packages
WHERE id = :id;

-- name: active_of :one
-- The active version of a name; None when there is none.
SELECT
    id, name, version, status, store_path, closure_bytes, failure, failure_detail, created_at, updated_at,
    downloaded_at, activated_at, revision
FROM packages
WHERE name = :name AND status = 'activated';

-- name: page_by_created :many
SELECT
    id, name, version, status, store_path, closure_bytes, failure, failure_detail, created_at, updated_at,
    downloaded_at, activated_at, revision
FROM packages
WHERE (CAST(:name AS TEXT) IS NULL OR name = :name)
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:pattern AS TEXT) IS NULL OR lower(name) LIKE lower(:pattern) ESCAPE '\')
    AND id > :after_id
ORDER BY id
LIMIT :limit;

-- name: page_by_created_down :many
SELECT
    id, name, version, status, store_path, closure_bytes, failure, failure_detail, created_at, updated_at,
    downloaded_at, activated_at, revision
FROM packages
WHERE (CAST(:name AS TEXT) IS NULL OR name = :name)
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:pattern AS TEXT) IS NULL OR lower(name) LIKE lower(:pattern) ESCAPE '\')
    AND id < :after_id
ORDER BY id DESC
LIMIT :limit;

-- name: page_by_name :many
SELECT
    id, name, version, status, store_path, closure_bytes, failure, failure_detail, created_at, updated_at,
    downloaded_at, activated_at, revision
FROM packages
WHERE (CAST(:name AS TEXT) IS NULL OR name = :name)
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:pattern AS TEXT) IS NULL OR lower(name) LIKE lower(:pattern) ESCAPE '\')
    AND (name > :after_name OR (name = :after_name AND id > :after_id))
ORDER BY name, id
LIMIT :limit;

-- name: page_by_name_down :many
SELECT
    id, name, version, status, store_path, closure_bytes, failure, failure_detail, created_at, updated_at,
    downloaded_at, activated_at, revision
FROM packages
WHERE (CAST(:name AS TEXT) IS NULL OR name = :name)
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:pattern AS TEXT) IS NULL OR lower(name) LIKE lower(:pattern) ESCAPE '\')
    AND (name < :after_name OR (name = :after_name AND id < :after_id))
ORDER BY name DESC, id DESC
LIMIT :limit;

-- name: count_matching :value
SELECT count(*)
FROM packages
WHERE (CAST(:name AS TEXT) IS NULL OR name = :name)
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:pattern AS TEXT) IS NULL OR lower(name) LIKE lower(:pattern) ESCAPE '\');

-- name: remove :exec
-- Only what is neither downloading, activated, nor at either end of a switch that is under way.
DELETE FROM packages
WHERE id = :id
    AND status IN ('created', 'downloaded', 'failed')
    AND NOT EXISTS (
        SELECT 1 FROM package_activations
        WHERE package_activations.status = 'switching'
            AND (package_activations.from_package_id = :id OR package_activations.to_package_id = :id)
    );

-- name: begin_download :exec
UPDATE packages
SET status = 'downloading', failure = NULL, failure_detail = NULL, updated_at = :now, revision = revision + 1
WHERE id = :id AND status IN ('created', 'failed');

-- name: end_download :exec
UPDATE packages
SET status = 'downloaded', store_path = :store_path, closure_bytes = :closure_bytes, downloaded_at = :now,
    updated_at = :now, revision = revision + 1
WHERE id = :id AND status = 'downloading';

-- name: fail_download :exec
UPDATE packages
SET status = 'failed', failure = :failure, failure_detail = :failure_detail, updated_at = :now,
    revision = revision + 1
WHERE id = :id AND status = 'downloading';

-- name: undo_download :exec
UPDATE packages
SET status = 'created', updated_at = :now, revision = revision + 1
WHERE id = :id AND status = 'downloading';

-- name: mark_damaged :exec
UPDATE packages
SET status = 'failed', failure = 'damaged', failure_detail = :failure_detail, updated_at = :now,
    revision = revision + 1
WHERE id = :id AND status = 'downloaded';

-- name: set_inactive :exec
-- Whatever version of the name was active until now.
UPDATE packages
SET status = 'downloaded', updated_at = :now, revision = revision + 1
WHERE name = :name AND status = 'activated';

-- name: set_active :exec
UPDATE packages
SET status = 'activated', activated_at = :now, updated_at = :now, revision = revision + 1
WHERE id = :id AND status = 'downloaded';

-- name: add_attempt :one
-- None when an attempt of the package is live.
INSERT INTO package_attempts (package_id, number, status, interruptions, queued_by, queued_at)
SELECT
    :package_id, COALESCE(max(number), 0) + 1, 'queued', CAST(:interruptions AS BIGINT), CAST(:queued_by AS BIGINT),
    CAST(:now AS TEXT)
FROM package_attempts
WHERE package_id = :package_id
ON CONFLICT DO NOTHING
RETURNING
    id, package_id, number, status, failure, failure_detail, exit_code, log_bytes, interruptions, cancel_requested,
    queued_at, started_at, finished_at;

-- name: live_attempt :one
-- The package's queued or running attempt; None when nothing runs.
SELECT
    id, package_id, number, status, failure, failure_detail, exit_code, log_bytes, interruptions, cancel_requested,
    queued_at, started_at, finished_at
FROM package_attempts
WHERE package_id = :package_id AND status IN ('queued', 'running');

-- name: attempt_numbered :one
-- None when there is none with this number.
SELECT
    id, package_id, number, status, failure, failure_detail, exit_code, log_bytes, interruptions, cancel_requested,
    queued_at, started_at, finished_at
FROM package_attempts
WHERE package_id = :package_id AND number = :number;

-- name: last_attempt :one
-- None before the first download.
SELECT
    id, package_id, number, status, failure, failure_detail, exit_code, log_bytes, interruptions, cancel_requested,
    queued_at, started_at, finished_at
FROM package_attempts
WHERE package_id = :package_id
ORDER BY number DESC, id
LIMIT 1;

-- name: attempts_page :many
SELECT
    id, package_id, number, status, failure, failure_detail, exit_code, log_bytes, interruptions, cancel_requested,
    queued_at, started_at, finished_at
FROM package_attempts
WHERE package_id = :package_id AND number > :after
ORDER BY number, id
LIMIT :limit;

-- name: count_attempts :value
SELECT count(*) FROM package_attempts WHERE package_id = :package_id;

-- name: attempt_ids :many
-- The attempts whose log files go with the package.
-- lint: unbounded because a package has few attempts and none may be left behind
SELECT id FROM package_attempts WHERE package_id = :package_id ORDER BY id;

-- name: next_queued :one
-- The attempt that has waited longest, with what is to be built; None when nothing waits.
SELECT
    package_attempts.id, package_attempts.package_id, package_attempts.number, packages.name, packages.version
FROM package_attempts JOIN packages ON packages.id = package_attempts.package_id
WHERE package_attempts.status = 'queued'
ORDER BY package_attempts.id
LIMIT 1;

-- name: start_attempt :exec
UPDATE package_attempts
SET status = 'running', started_at = :now, lease_until = :lease_until
WHERE id = :id AND status = 'queued';

-- name: renew_lease :exec
UPDATE package_attempts SET lease_until = :lease_until WHERE id = :id AND status = 'running';

-- name: request_cancel :exec
UPDATE package_attempts SET cancel_requested = 1 WHERE id = :id AND status IN ('queued', 'running');

-- name: end_attempt :exec
UPDATE package_attempts
SET status = :status, failure = :failure, failure_detail = :failure_detail, exit_code = :exit_code,
    log_bytes = :log_bytes, finished_at = :now, lease_until = NULL
WHERE id = :id AND status IN ('queued', 'running');

-- name: attempt_by_id :one
-- None when there is none.
SELECT
    id, package_id, number, status, failure, failure_detail, exit_code, log_bytes, interruptions, cancel_requested,
    queued_at, started_at, finished_at
FROM package_attempts
WHERE id = :id;

-- name: running_attempts :many
-- lint: unbounded because only a handful of builds run at once
SELECT
    id, package_id, number, status, failure, failure_detail, exit_code, log_bytes, interruptions, cancel_requested,
    queued_at, started_at, finished_at
FROM package_attempts
WHERE status = 'running'
ORDER BY id;

-- name: expired_attempts :many
-- Running attempts whose builder has not been heard of for as long as it promised.
-- lint: unbounded because only a handful of builds run at once
SELECT
    id, package_id, number, status, failure, failure_detail, exit_code, log_bytes, interruptions, cancel_requested,
    queued_at, started_at, finished_at
FROM package_attempts
WHERE status = 'running' AND lease_until < :now
ORDER BY id;

-- name: begin_switch :one
-- None when another switch of the name is under way.
INSERT INTO package_activations (
    name, kind, status, from_package_id, from_version, to_package_id, to_version, store_path, actor_id, actor_name,
    started_at
) VALUES (
    :name, :kind, 'switching', :from_package_id, :from_version, :to_package_id, :to_version, :store_path, :actor_id,
    :actor_name, :now
)
ON CONFLICT DO NOTHING
RETURNING
    id, name, kind, status, from_package_id, from_version, to_package_id, to_version, store_path, generation, popped,
    actor_id, actor_name, started_at, finished_at;

-- name: end_switch :exec
UPDATE package_activations
SET status = :status, generation = :generation, finished_at = :now
WHERE id = :id AND status = 'switching';

-- name: activation_by_id :one
-- None when there is none.
SELECT
    id, name, kind, status, from_package_id, from_version, to_package_id, to_version, store_path, generation, popped,
    actor_id, actor_name, started_at, finished_at
FROM package_activations
WHERE id = :id;

-- name: unsettled :many
-- lint: unbounded because at most one switch per name is under way
SELECT
    id, name, kind, status, from_package_id, from_version, to_package_id, to_version, store_path, generation, popped,
    actor_id, actor_name, started_at, finished_at
FROM package_activations
WHERE status = 'switching'
ORDER BY id;

-- name: before_active :one
-- Where a rollback from the active version leads: the nearest entry of the name's stack that is another version, still
-- there and ready. None when there is none.
SELECT
    package_activations.id, package_activations.to_package_id AS package_id
FROM package_activations JOIN packages ON packages.id = package_activations.to_package_id
WHERE package_activations.name = :name
    AND package_activations.kind = 'activate'
    AND package_activations.status = 'done'
    AND package_activations.popped = 0
    AND packages.id <> :active_id
    AND packages.status = 'downloaded'
ORDER BY package_activations.id DESC
LIMIT 1;

-- name: pop_above :exec
-- Takes off the name's stack whatever lies above the entry that is returned to.
UPDATE package_activations
SET popped = 1
WHERE name = :name AND kind = 'activate' AND popped = 0 AND id > :entry_id;

-- name: stack_entry :value
-- The topmost entry of the name's stack that is this version; None when there is none.
SELECT id
FROM package_activations
WHERE name = :name AND kind = 'activate' AND status = 'done' AND popped = 0 AND to_package_id = :package_id
ORDER BY id DESC
LIMIT 1;

-- name: activations_page :many
SELECT
    id, name, kind, status, from_package_id, from_version, to_package_id, to_version, store_path, generation, popped,
    actor_id, actor_name, started_at, finished_at
FROM package_activations
WHERE name = :name AND id > :after
ORDER BY id
LIMIT :limit;

-- name: count_activations :value
SELECT count(*) FROM package_activations WHERE name = :name;

-- name: held :many
-- Those of a JSON list of ids whose paths are wanted.
-- lint: unbounded because there are no more rows than ids in the list
SELECT id
FROM packages
WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(:ids)) AND status IN ('downloaded', 'activated')
ORDER BY id;

-- name: store_paths :many
-- lint: unbounded because what is left out is given to the garbage collector
SELECT store_path FROM packages WHERE store_path IS NOT NULL ORDER BY id;

-- name: existing_attempts :many
-- Those of a JSON list of ids that are attempts.
-- lint: unbounded because there are no more rows than ids in the list
SELECT id FROM package_attempts WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(:ids)) ORDER BY id;
