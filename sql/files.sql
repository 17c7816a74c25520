-- Files: names of blobs in somebody's folders, who else has them, and the uploads on their way.

-- name: cards :many
-- Of these files those that a caller reaches, or has through a share that holds; `access` is the most they may do.
-- lint: unbounded because the ids are those of one page
SELECT
    files.id, files.name, files.folder_id, files.owner_id, users.username AS owner_name, files.media_type, files.kind,
    files.size_bytes, files.sha256,
    CASE
        WHEN :everyone = 1 OR files.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT) THEN 'full'
        WHEN EXISTS (
            SELECT 1 FROM file_shares
            WHERE file_shares.file_id = files.id AND file_shares.permission = 'edit'
                AND (file_shares.expires_at IS NULL OR file_shares.expires_at > :now)
                AND (
                    file_shares.max_access_count IS NULL
                    OR file_shares.access_count < file_shares.max_access_count
                )
                AND (
                    file_shares.user_id = :self_id
                    OR file_shares.team_id IN (SELECT team_id FROM team_members WHERE user_id = :self_id)
                )
        ) THEN 'edit'
        ELSE 'read'
    END AS access,
    files.revision, files.created_at, files.updated_at, files.is_favorite
FROM files JOIN users ON users.id = files.owner_id
WHERE files.id IN (SELECT CAST(value AS BIGINT) FROM json_each(:ids))
    AND (
        :everyone = 1 OR files.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT)
        OR EXISTS (
            SELECT 1 FROM file_shares
            WHERE file_shares.file_id = files.id
                AND (file_shares.expires_at IS NULL OR file_shares.expires_at > :now)
                AND (
                    file_shares.max_access_count IS NULL
                    OR file_shares.access_count < file_shares.max_access_count
                )
                AND (
                    file_shares.user_id = :self_id
                    OR file_shares.team_id IN (SELECT team_id FROM team_members WHERE user_id = :self_id)
                )
        )
    )
ORDER BY files.id;

-- name: reachable :many
-- Those of all accounts, or of a group, the newest first.
SELECT files.updated_at AS place, files.id
FROM files JOIN users ON users.id = files.owner_id
WHERE (:everyone = 1 OR files.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
    AND files.updated_at <= :behind AND (files.updated_at < :behind OR files.id < :behind_id)
    AND (CAST(:owner_id AS BIGINT) IS NULL OR files.owner_id = :owner_id)
    AND (:at_root = 0 OR files.folder_id IS NULL)
    AND (CAST(:pattern AS TEXT) IS NULL OR files.search_text LIKE :pattern ESCAPE '\')
    AND (CAST(:type AS TEXT) IS NULL OR lower(files.media_type) LIKE lower(:type) ESCAPE '\')
    AND (CAST(:favorite AS BIGINT) IS NULL OR files.is_favorite = :favorite)
ORDER BY files.updated_at DESC, files.id DESC
LIMIT :limit;

-- name: count_reachable :value
SELECT count(*)
FROM files JOIN users ON users.id = files.owner_id
WHERE (:everyone = 1 OR files.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
    AND (CAST(:owner_id AS BIGINT) IS NULL OR files.owner_id = :owner_id)
    AND (:at_root = 0 OR files.folder_id IS NULL)
    AND (CAST(:pattern AS TEXT) IS NULL OR files.search_text LIKE :pattern ESCAPE '\')
    AND (CAST(:type AS TEXT) IS NULL OR lower(files.media_type) LIKE lower(:type) ESCAPE '\')
    AND (CAST(:favorite AS BIGINT) IS NULL OR files.is_favorite = :favorite);

-- name: of_owner :many
-- Those of one account, the newest first.
SELECT updated_at AS place, id
FROM files
WHERE owner_id = :owner_id
    AND updated_at <= :behind AND (updated_at < :behind OR id < :behind_id)
    AND (:at_root = 0 OR folder_id IS NULL)
    AND (CAST(:pattern AS TEXT) IS NULL OR search_text LIKE :pattern ESCAPE '\')
    AND (CAST(:type AS TEXT) IS NULL OR lower(media_type) LIKE lower(:type) ESCAPE '\')
    AND (CAST(:favorite AS BIGINT) IS NULL OR is_favorite = :favorite)
ORDER BY updated_at DESC, id DESC
LIMIT :limit;

-- name: count_of_owner :value
SELECT count(*)
FROM files
WHERE owner_id = :owner_id
    AND (:at_root = 0 OR folder_id IS NULL)
    AND (CAST(:pattern AS TEXT) IS NULL OR search_text LIKE :pattern ESCAPE '\')
    AND (CAST(:type AS TEXT) IS NULL OR lower(media_type) LIKE lower(:type) ESCAPE '\')
    AND (CAST(:favorite AS BIGINT) IS NULL OR is_favorite = :favorite);

-- name: shared :many
-- Those that others share with a caller who does not reach them, the newest first.
SELECT files.updated_at AS place, files.id
FROM files JOIN users ON users.id = files.owner_id
WHERE files.id IN (
    SELECT file_shares.file_id FROM file_shares
    WHERE (
        file_shares.user_id = :self_id
        OR file_shares.team_id IN (SELECT team_id FROM team_members WHERE user_id = :self_id)
    )
        AND (file_shares.expires_at IS NULL OR file_shares.expires_at > :now)
        AND (file_shares.max_access_count IS NULL OR file_shares.access_count < file_shares.max_access_count)
)
    AND files.owner_id <> :self_id
    AND (CAST(:own_group_id AS BIGINT) IS NULL OR users.group_id IS DISTINCT FROM :own_group_id)
    AND files.updated_at <= :behind AND (files.updated_at < :behind OR files.id < :behind_id)
    AND (CAST(:owner_id AS BIGINT) IS NULL OR files.owner_id = :owner_id)
    AND (CAST(:pattern AS TEXT) IS NULL OR files.search_text LIKE :pattern ESCAPE '\')
    AND (CAST(:type AS TEXT) IS NULL OR lower(files.media_type) LIKE lower(:type) ESCAPE '\')
ORDER BY files.updated_at DESC, files.id DESC
LIMIT :limit;

-- name: count_shared :value
SELECT count(*)
FROM files JOIN users ON users.id = files.owner_id
WHERE files.id IN (
    SELECT file_shares.file_id FROM file_shares
    WHERE (
        file_shares.user_id = :self_id
        OR file_shares.team_id IN (SELECT team_id FROM team_members WHERE user_id = :self_id)
    )
        AND (file_shares.expires_at IS NULL OR file_shares.expires_at > :now)
        AND (file_shares.max_access_count IS NULL OR file_shares.access_count < file_shares.max_access_count)
)
    AND files.owner_id <> :self_id
    AND (CAST(:own_group_id AS BIGINT) IS NULL OR users.group_id IS DISTINCT FROM :own_group_id)
    AND (CAST(:owner_id AS BIGINT) IS NULL OR files.owner_id = :owner_id)
    AND (CAST(:pattern AS TEXT) IS NULL OR files.search_text LIKE :pattern ESCAPE '\')
    AND (CAST(:type AS TEXT) IS NULL OR lower(files.media_type) LIKE lower(:type) ESCAPE '\');

-- name: in_folder :many
-- What lies in a folder that a caller reaches, by name.
SELECT files.name_key AS place, files.id
FROM files JOIN users ON users.id = files.owner_id
WHERE files.folder_id = :folder_id
    AND (:everyone = 1 OR files.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
    AND files.name_key >= :behind AND (files.name_key > :behind OR files.id > :behind_id)
    AND (CAST(:owner_id AS BIGINT) IS NULL OR files.owner_id = :owner_id)
    AND (CAST(:pattern AS TEXT) IS NULL OR files.search_text LIKE :pattern ESCAPE '\')
    AND (CAST(:type AS TEXT) IS NULL OR lower(files.media_type) LIKE lower(:type) ESCAPE '\')
    AND (CAST(:favorite AS BIGINT) IS NULL OR files.is_favorite = :favorite)
ORDER BY files.name_key, files.id
LIMIT :limit;

-- name: count_in_folder :value
SELECT count(*)
FROM files JOIN users ON users.id = files.owner_id
WHERE files.folder_id = :folder_id
    AND (:everyone = 1 OR files.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
    AND (CAST(:owner_id AS BIGINT) IS NULL OR files.owner_id = :owner_id)
    AND (CAST(:pattern AS TEXT) IS NULL OR files.search_text LIKE :pattern ESCAPE '\')
    AND (CAST(:type AS TEXT) IS NULL OR lower(files.media_type) LIKE lower(:type) ESCAPE '\')
    AND (CAST(:favorite AS BIGINT) IS NULL OR files.is_favorite = :favorite);

-- name: add :value
-- The id of the new file.
INSERT INTO files (
    owner_id, folder_id, name, name_key, search_text, sha256, size_bytes, media_type, kind, created_at, updated_at
) VALUES (
    :owner_id, :folder_id, :name, :name_key, :search_text, :sha256, :size_bytes, :media_type, :kind, :now, :now
)
RETURNING id;

-- name: update :exec
UPDATE files
SET
    name = :name, name_key = :name_key, search_text = :search_text, folder_id = :folder_id,
    is_favorite = :is_favorite, revision = revision + 1, updated_at = :now
WHERE id = :id;

-- name: remove :exec
DELETE FROM files WHERE id = :id;

-- name: remove_many :many
-- The ids of those that are gone: of these files the ones within reach.
-- lint: unbounded because the ids are those of one call
DELETE FROM files
WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(:ids))
    AND (
        :everyone = 1 OR owner_id = :self_id
        OR owner_id IN (SELECT users.id FROM users WHERE users.group_id = CAST(:own_group_id AS BIGINT))
    )
RETURNING id;

-- name: folder_of :value
-- A folder of this account's; None when there is none.
SELECT id FROM folders WHERE id = :id AND owner_id = :owner_id;

-- name: used :value
-- The bytes that count in an account's quota: files, documents with their revisions, uploads on their way.
SELECT CAST(
    COALESCE((SELECT sum(storage_use.used_bytes) FROM storage_use WHERE storage_use.owner_id = :owner_id), 0)
    + COALESCE((SELECT sum(file_uploads.reserved_bytes) FROM file_uploads WHERE file_uploads.owner_id = :owner_id), 0)
    + COALESCE(
        (
            SELECT sum(fcs_uploads.size_bytes) FROM fcs_uploads
            WHERE fcs_uploads.owner_id = :owner_id AND fcs_uploads.status = 'processing'
                AND fcs_uploads.expires_at > :now
        ), 0
    )
    AS BIGINT
);

-- name: use_by_kind :many
-- lint: unbounded because there are seven kinds
SELECT kind, used_bytes FROM storage_use WHERE owner_id = :owner_id ORDER BY kind;

-- name: begin_upload :value
-- The id of an upload that reserves its place; None when the account has as many uploads on their way as it may.
INSERT INTO file_uploads (owner_id, reserved_bytes, begun_at)
SELECT CAST(:owner_id AS BIGINT), CAST(:reserved_bytes AS BIGINT), CAST(:now AS TEXT)
WHERE (SELECT count(*) FROM file_uploads WHERE owner_id = :owner_id) < :most
RETURNING id;

-- name: end_upload :exec
DELETE FROM file_uploads WHERE id = :id;

-- name: end_uploads :exec
DELETE FROM file_uploads;

-- name: named :many
-- Of these blobs those that files name.
-- lint: unbounded because the blobs are those of one batch
SELECT sha256, min(id) AS id
FROM files
WHERE sha256 IN (SELECT value FROM json_each(:blobs))
GROUP BY sha256
ORDER BY id;

-- name: shares :many
-- lint: unbounded because a file has at most 1,000 shares
SELECT
    file_shares.id, file_shares.user_id, users.username, file_shares.team_id, teams.name AS team_name,
    CASE WHEN file_shares.link_sha256 IS NULL THEN 0 ELSE 1 END AS is_link, file_shares.permission,
    file_shares.expires_at, file_shares.max_access_count, file_shares.access_count, file_shares.created_by,
    file_shares.created_at
FROM file_shares
LEFT JOIN users ON users.id = file_shares.user_id
LEFT JOIN teams ON teams.id = file_shares.team_id
WHERE file_shares.file_id = :file_id AND (CAST(:share_id AS BIGINT) IS NULL OR file_shares.id = :share_id)
ORDER BY file_shares.id;

-- name: count_shares :value
SELECT count(*) FROM file_shares WHERE file_id = :file_id;

-- name: share :value
-- The id of the new share; None when the account or the team has one already.
INSERT INTO file_shares (
    file_id, user_id, team_id, link_sha256, permission, expires_at, max_access_count, created_by, created_at
) VALUES (
    :file_id, :user_id, :team_id, :link_sha256, :permission, :expires_at, :max_access_count, :created_by, :now
)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: drop_spent :exec
-- Removes the share of an account or a team that has ended.
DELETE FROM file_shares
WHERE file_id = :file_id AND (expires_at <= :now OR access_count >= max_access_count)
    AND (user_id = CAST(:user_id AS BIGINT) OR team_id = CAST(:team_id AS BIGINT));

-- name: drop_all_spent :exec
-- Removes the shares of a file that have ended.
DELETE FROM file_shares
WHERE file_id = :file_id AND (expires_at <= :now OR access_count >= max_access_count);

-- name: revoke :exec
DELETE FROM file_shares WHERE id = :id AND file_id = :file_id;

-- name: share_for :value
-- The share through which somebody may have a file once more, one that is not counted before one that is; None: none.
SELECT id
FROM file_shares
WHERE file_id = :file_id
    AND (user_id = :self_id OR team_id IN (SELECT team_id FROM team_members WHERE team_members.user_id = :self_id))
    AND (expires_at IS NULL OR expires_at > :now)
    AND (max_access_count IS NULL OR access_count < max_access_count)
ORDER BY max_access_count NULLS FIRST, id
LIMIT 1;

-- name: continued :value
-- The file that somebody was given through a share, and goes on with; None when that is too long ago, or over.
SELECT file_shares.file_id
FROM file_accesses JOIN file_shares ON file_shares.id = file_accesses.share_id
WHERE file_shares.file_id = :file_id
    AND (
        file_shares.user_id = :self_id
        OR file_shares.team_id IN (SELECT team_id FROM team_members WHERE team_members.user_id = :self_id)
    )
    AND (file_shares.expires_at IS NULL OR file_shares.expires_at > :now)
    AND file_accesses.user_id = :self_id AND file_accesses.at > :since
LIMIT 1;

-- name: count_access :value
-- The share, after one more access; None when it has none left.
UPDATE file_shares
SET access_count = access_count + 1
WHERE id = :id
    AND (expires_at IS NULL OR expires_at > :now)
    AND (max_access_count IS NULL OR access_count < max_access_count)
RETURNING id;

-- name: by_link :one
-- What a link leads to, whether or not it still does; None when nobody was ever given it, or its owner is not active.
SELECT
    file_shares.id AS share_id, file_shares.file_id, files.name, files.media_type, files.size_bytes, files.sha256,
    file_shares.expires_at, file_shares.max_access_count, file_shares.access_count
FROM file_shares
JOIN files ON files.id = file_shares.file_id
JOIN users ON users.id = files.owner_id
WHERE file_shares.link_sha256 = :link_sha256 AND users.status = 'active';

-- name: continued_by :value
-- An access through a link from the same address, not long ago; None when there was none.
SELECT id FROM file_accesses WHERE share_id = :share_id AND ip = :ip AND at > :since LIMIT 1;

-- name: note_access :value
-- The id of the new row.
INSERT INTO file_accesses (file_id, share_id, user_id, action, ip, user_agent, at)
VALUES (:file_id, :share_id, :user_id, :action, :ip, :user_agent, :now)
RETURNING id;

-- name: forget_accesses :exec
-- Of a file's accesses the newest stay.
DELETE FROM file_accesses
WHERE file_id = :file_id AND id <= (
    SELECT id FROM file_accesses WHERE file_id = :file_id ORDER BY id DESC LIMIT 1 OFFSET :most
);

-- name: accesses :many
SELECT
    file_accesses.id, file_accesses.share_id, file_accesses.user_id, users.username, file_accesses.action,
    file_accesses.ip, file_accesses.user_agent, file_accesses.at
FROM file_accesses LEFT JOIN users ON users.id = file_accesses.user_id
WHERE file_accesses.file_id = :file_id AND file_accesses.id < :before_id
ORDER BY file_accesses.id DESC
LIMIT :limit;

-- name: count_accesses :value
SELECT count(*) FROM file_accesses WHERE file_id = :file_id;
