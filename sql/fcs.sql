-- Flow-cytometry files: names for contents, what is known of the contents, and uploads in chunks.

-- name: by_id :one
-- A file that a caller may read; None for any other. The appliance's own is everybody's.
SELECT
    fcs_files.id AS file_id, fcs_files.filename, fcs_files.owner_id, users.username AS owner_name,
    fcs_contents.size_bytes, fcs_contents.sha256, fcs_contents.fcs_version, fcs_contents.total_events,
    fcs_contents.total_parameters, fcs_contents.warnings, fcs_files.created_at
FROM fcs_files
JOIN fcs_contents ON fcs_contents.id = fcs_files.content_id
LEFT JOIN users ON users.id = fcs_files.owner_id
WHERE fcs_files.id = :id
    AND (
        :everyone = 1 OR fcs_files.owner_id IS NULL OR fcs_files.owner_id = :self_id
        OR users.group_id = CAST(:own_group_id AS BIGINT)
    );

-- name: newest :value
-- The id of the account's newest file; None where it has none.
SELECT id FROM fcs_files WHERE owner_id = :self_id ORDER BY id DESC LIMIT 1;

-- name: default :value
-- The id of the appliance's own file; None where there is none.
SELECT id FROM fcs_files WHERE owner_id IS NULL ORDER BY id DESC LIMIT 1;

-- name: content :one
-- What is known of a content.
SELECT
    id, sha256, parser_version, description, status, statistics, failure, ended_at
FROM fcs_contents
WHERE sha256 = :sha256;

-- name: of_owner :many
-- Those of one account, the newest first.
SELECT
    fcs_files.id AS file_id, fcs_files.filename, fcs_files.owner_id, users.username AS owner_name,
    fcs_contents.size_bytes, fcs_contents.sha256, fcs_contents.fcs_version, fcs_contents.total_events,
    fcs_contents.total_parameters, fcs_contents.warnings, fcs_files.created_at
FROM fcs_files
JOIN fcs_contents ON fcs_contents.id = fcs_files.content_id
JOIN users ON users.id = fcs_files.owner_id
WHERE fcs_files.owner_id = :self_id AND fcs_files.id < :before_id
ORDER BY fcs_files.id DESC
LIMIT :limit;

-- name: count_of_owner :value
SELECT count(*) FROM fcs_files WHERE owner_id = :self_id;

-- name: reachable :many
-- Those of all accounts, or of a group, the newest first.
SELECT
    fcs_files.id AS file_id, fcs_files.filename, fcs_files.owner_id, users.username AS owner_name,
    fcs_contents.size_bytes, fcs_contents.sha256, fcs_contents.fcs_version, fcs_contents.total_events,
    fcs_contents.total_parameters, fcs_contents.warnings, fcs_files.created_at
FROM fcs_files
JOIN fcs_contents ON fcs_contents.id = fcs_files.content_id
JOIN users ON users.id = fcs_files.owner_id
WHERE fcs_files.id < :before_id
    AND (:everyone = 1 OR fcs_files.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
ORDER BY fcs_files.id DESC
LIMIT :limit;

-- name: count_reachable :value
SELECT count(*)
FROM fcs_files JOIN users ON users.id = fcs_files.owner_id
WHERE :everyone = 1 OR fcs_files.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT);

-- name: keep_content :value
-- The id of a content; it is kept as it is where it is known already.
INSERT INTO fcs_contents (
    sha256, size_bytes, parser_version, fcs_version, total_events, total_parameters, warnings, description, created_at
)
VALUES (
    :sha256, :size_bytes, :parser_version, :fcs_version, :total_events, :total_parameters, :warnings, :description, :now
)
ON CONFLICT (sha256) DO UPDATE SET size_bytes = excluded.size_bytes
RETURNING id;

-- name: add :value
-- The id of a new file; `owner_id` None: the appliance's own.
INSERT INTO fcs_files (owner_id, content_id, filename, created_at)
VALUES (CAST(:owner_id AS BIGINT), :content_id, :filename, :now)
RETURNING id;

-- name: remove :exec
DELETE FROM fcs_files WHERE id = :id;

-- name: remove_default :exec
-- The appliance's own file goes.
DELETE FROM fcs_files WHERE owner_id IS NULL;

-- name: default_content :value
-- The blob of the appliance's own file; None where there is none.
SELECT fcs_contents.sha256
FROM fcs_files JOIN fcs_contents ON fcs_contents.id = fcs_files.content_id
WHERE fcs_files.owner_id IS NULL
LIMIT 1;

-- name: rename_default :exec
UPDATE fcs_files SET filename = :filename WHERE owner_id IS NULL;

-- name: outdated :many
-- Contents that another version of the parser has described.
SELECT id, sha256, parser_version, description, status, statistics, failure, ended_at
FROM fcs_contents
WHERE parser_version <> :parser_version AND id > :after_id
ORDER BY id
LIMIT :limit;

-- name: describe_again :exec
-- What another version of the parser makes of a content; its statistics are computed anew.
UPDATE fcs_contents
SET parser_version = :parser_version, fcs_version = :fcs_version, total_events = :total_events,
    total_parameters = :total_parameters, warnings = :warnings, description = :description,
    status = 'pending', statistics = NULL, failure = NULL
WHERE id = :id;

-- name: due :one
-- The content whose turn it is; None when nothing is to be computed.
SELECT id, sha256, parser_version, description, status, statistics, failure, ended_at
FROM fcs_contents
WHERE status = 'pending'
ORDER BY id
LIMIT 1;

-- name: keep_statistics :exec
UPDATE fcs_contents
SET status = 'done', statistics = :statistics, ended_at = :now
WHERE id = :id AND status = 'pending';

-- name: keep_failure :exec
UPDATE fcs_contents
SET status = 'failed', failure = :failure, ended_at = :now
WHERE id = :id AND status = 'pending';

-- name: try_again :exec
-- Statistics that failed long enough ago are to be computed once more.
UPDATE fcs_contents
SET status = 'pending', failure = NULL
WHERE id = :id AND status = 'failed' AND ended_at <= :before;

-- name: named :many
-- Of these blobs those that contents name, or chunks of uploads that may still be completed.
-- lint: unbounded because the blobs are those of one batch
SELECT sha256, min(id) AS id
FROM (
    SELECT sha256, id FROM fcs_contents WHERE sha256 IN (SELECT value FROM json_each(:blobs))
    UNION ALL
    SELECT fcs_chunks.sha256, fcs_chunks.id
    FROM fcs_chunks JOIN fcs_uploads ON fcs_uploads.id = fcs_chunks.upload_id
    WHERE fcs_chunks.sha256 IN (SELECT value FROM json_each(:blobs)) AND fcs_uploads.expires_at > :now
) AS found
GROUP BY found.sha256
ORDER BY found.sha256;

-- name: begin_upload :value
-- The id of an upload in chunks; None when the account has as many open as it may.
INSERT INTO fcs_uploads (owner_id, filename, size_bytes, chunk_bytes, sha256, created_at, expires_at)
SELECT
    CAST(:owner_id AS BIGINT), CAST(:filename AS TEXT), CAST(:size_bytes AS BIGINT), CAST(:chunk_bytes AS BIGINT),
    CAST(:sha256 AS TEXT), CAST(:now AS TEXT), CAST(:expires_at AS TEXT)
WHERE (SELECT count(*) FROM fcs_uploads WHERE owner_id = :owner_id AND status = 'processing') < :most
RETURNING id;

-- name: upload :one
-- An upload that has not expired, with what has come of it; None for any other.
SELECT
    fcs_uploads.id, fcs_uploads.filename, fcs_uploads.size_bytes, fcs_uploads.chunk_bytes, fcs_uploads.sha256,
    fcs_uploads.status, fcs_uploads.file_id, fcs_uploads.created_at, fcs_uploads.expires_at,
    (SELECT count(*) FROM fcs_chunks WHERE fcs_chunks.upload_id = fcs_uploads.id) AS chunks,
    CAST(
        COALESCE(
            (SELECT sum(fcs_chunks.size_bytes) FROM fcs_chunks WHERE fcs_chunks.upload_id = fcs_uploads.id), 0
        ) AS BIGINT
    ) AS uploaded_bytes
FROM fcs_uploads
WHERE fcs_uploads.id = :id AND fcs_uploads.owner_id = :owner_id AND fcs_uploads.expires_at > :now;

-- name: uploads :many
-- An account's uploads that have not expired, the newest first.
SELECT
    fcs_uploads.id, fcs_uploads.filename, fcs_uploads.size_bytes, fcs_uploads.chunk_bytes, fcs_uploads.sha256,
    fcs_uploads.status, fcs_uploads.file_id, fcs_uploads.created_at, fcs_uploads.expires_at,
    (SELECT count(*) FROM fcs_chunks WHERE fcs_chunks.upload_id = fcs_uploads.id) AS chunks,
    CAST(
        COALESCE(
            (SELECT sum(fcs_chunks.size_bytes) FROM fcs_chunks WHERE fcs_chunks.upload_id = fcs_uploads.id), 0
        ) AS BIGINT
    ) AS uploaded_bytes
FROM fcs_uploads
WHERE fcs_uploads.owner_id = :owner_id AND fcs_uploads.expires_at > :now AND fcs_uploads.id < :before_id
ORDER BY fcs_uploads.id DESC
LIMIT :limit;

-- name: count_uploads :value
SELECT count(*) FROM fcs_uploads WHERE owner_id = :owner_id AND expires_at > :now;

-- name: chunks :many
-- The chunks of an upload that have come, in their order.
-- lint: unbounded because an upload has at most as many chunks as MAX_FCS_BYTES has MiB
SELECT number, sha256, size_bytes, id FROM fcs_chunks WHERE upload_id = :upload_id ORDER BY number;

-- name: chunk :value
-- The blob of a chunk; None when it has not come.
SELECT sha256 FROM fcs_chunks WHERE upload_id = :upload_id AND number = :number;

-- name: put_chunk :exec
-- A chunk comes, or comes again.
INSERT INTO fcs_chunks (upload_id, number, sha256, size_bytes)
VALUES (:upload_id, :number, :sha256, :size_bytes)
ON CONFLICT (upload_id, number) DO UPDATE SET sha256 = excluded.sha256;

-- name: complete_upload :exec
-- An upload has become a file.
UPDATE fcs_uploads SET status = 'completed', file_id = :file_id WHERE id = :id AND status = 'processing';

-- name: drop_chunks :exec
DELETE FROM fcs_chunks WHERE upload_id = :upload_id;

-- name: abort_upload :exec
DELETE FROM fcs_uploads WHERE id = :id AND status = 'processing';

-- name: forget_uploads :exec
-- Uploads that have expired go, with their chunks.
DELETE FROM fcs_uploads WHERE expires_at <= :now;
