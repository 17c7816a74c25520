-- Folders: one tree for each account.

-- name: by_id :one
-- None when there is none within reach.
SELECT
    folders.id, folders.name, folders.parent_id, folders.owner_id, users.username AS owner_name, folders.revision,
    folders.created_at, folders.updated_at
FROM folders JOIN users ON users.id = folders.owner_id
WHERE folders.id = :id
    AND (:everyone = 1 OR folders.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT));

-- name: page :many
-- Those within reach, in the order in which they were made.
SELECT
    folders.id, folders.name, folders.parent_id, folders.owner_id, users.username AS owner_name, folders.revision,
    folders.created_at, folders.updated_at
FROM folders JOIN users ON users.id = folders.owner_id
WHERE folders.id > :after
    AND (:everyone = 1 OR folders.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
    AND (CAST(:owner_id AS BIGINT) IS NULL OR folders.owner_id = :owner_id)
    AND (CAST(:parent_id AS BIGINT) IS NULL OR COALESCE(folders.parent_id, 0) = :parent_id)
    AND (CAST(:pattern AS TEXT) IS NULL OR folders.name_key LIKE :pattern ESCAPE '\')
ORDER BY folders.id
LIMIT :limit;

-- name: page_of_owner :many
-- Those of one account, in the order in which they were made.
SELECT
    folders.id, folders.name, folders.parent_id, folders.owner_id, users.username AS owner_name, folders.revision,
    folders.created_at, folders.updated_at
FROM folders JOIN users ON users.id = folders.owner_id
WHERE folders.owner_id = :owner_id AND folders.id > :after
    AND (CAST(:parent_id AS BIGINT) IS NULL OR COALESCE(folders.parent_id, 0) = :parent_id)
    AND (CAST(:pattern AS TEXT) IS NULL OR folders.name_key LIKE :pattern ESCAPE '\')
ORDER BY folders.id
LIMIT :limit;

-- name: count_page_of_owner :value
-- As `page_of_owner`, on all pages together.
SELECT count(*)
FROM folders
WHERE owner_id = :owner_id
    AND (CAST(:parent_id AS BIGINT) IS NULL OR COALESCE(parent_id, 0) = :parent_id)
    AND (CAST(:pattern AS TEXT) IS NULL OR name_key LIKE :pattern ESCAPE '\');

-- name: count :value
-- As `page`, on all pages together.
SELECT count(*)
FROM folders JOIN users ON users.id = folders.owner_id
WHERE (:everyone = 1 OR folders.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
    AND (CAST(:owner_id AS BIGINT) IS NULL OR folders.owner_id = :owner_id)
    AND (CAST(:parent_id AS BIGINT) IS NULL OR COALESCE(folders.parent_id, 0) = :parent_id)
    AND (CAST(:pattern AS TEXT) IS NULL OR folders.name_key LIKE :pattern ESCAPE '\');

-- name: tree :many
-- The tree of an account, or what is below one folder and that itself, as deep as is asked for; by name.
-- lint: unbounded because an account has at most 20,000 folders
WITH RECURSIVE branches (id, depth) AS (
    SELECT folders.id, 1
    FROM folders
    WHERE folders.owner_id = :owner_id
        AND (
            (CAST(:root_id AS BIGINT) IS NULL AND folders.parent_id IS NULL)
            OR folders.id = CAST(:root_id AS BIGINT)
        )
    UNION ALL
    SELECT folders.id, branches.depth + 1
    FROM folders JOIN branches ON folders.parent_id = branches.id
    WHERE branches.depth < :depth
)
SELECT folders.id, folders.name, folders.parent_id, branches.depth, folders.revision
FROM branches JOIN folders ON folders.id = branches.id
ORDER BY folders.name_key, folders.id;

-- name: path :many
-- A folder and those it lies in, the outermost first.
-- lint: unbounded because a tree is at most 1,000 deep
WITH RECURSIVE steps (id, parent_id, height) AS (
    SELECT folders.id, folders.parent_id, 1 FROM folders WHERE folders.id = :id
    UNION ALL
    SELECT folders.id, folders.parent_id, steps.height + 1
    FROM folders JOIN steps ON folders.id = steps.parent_id
)
SELECT folders.id, folders.name FROM steps JOIN folders ON folders.id = steps.id ORDER BY steps.height DESC, folders.id;

-- name: height :value
-- How many levels a folder has, itself among them.
WITH RECURSIVE branches (id, depth) AS (
    SELECT folders.id, 1 FROM folders WHERE folders.id = :id
    UNION ALL
    SELECT folders.id, branches.depth + 1 FROM folders JOIN branches ON folders.parent_id = branches.id
)
SELECT max(depth) FROM branches;

-- name: contents :one
-- How much lies in a folder itself.
SELECT
    (SELECT count(*) FROM folders WHERE folders.parent_id = :id) AS folder_count,
    (SELECT count(*) FROM files WHERE files.folder_id = :id) AS file_count,
    (SELECT count(*) FROM documents WHERE documents.folder_id = :id) AS document_count;

-- name: contents_below :one
-- How much lies in a folder and below it.
WITH RECURSIVE branches (id) AS (
    SELECT folders.id FROM folders WHERE folders.id = :id
    UNION ALL
    SELECT folders.id FROM folders JOIN branches ON folders.parent_id = branches.id
)
SELECT
    (SELECT count(*) FROM branches) AS folder_count,
    (SELECT count(*) FROM files JOIN branches ON files.folder_id = branches.id) AS file_count,
    (SELECT count(*) FROM documents JOIN branches ON documents.folder_id = branches.id) AS document_count;

-- name: count_of_owner :value
SELECT count(*) FROM folders WHERE owner_id = :owner_id;

-- name: add :value
-- The id of the new folder; None when there is one of that name in the same place.
INSERT INTO folders (owner_id, parent_id, name, name_key, created_at, updated_at)
VALUES (:owner_id, :parent_id, :name, :name_key, :now, :now)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: update :exec
-- No row: there is another of that name in the same place.
UPDATE folders
SET
    parent_id = :parent_id, name = :name, name_key = :name_key, revision = revision + 1, updated_at = :now
WHERE id = :id AND NOT EXISTS (
    SELECT 1 FROM folders AS others
    WHERE others.owner_id = :owner_id AND COALESCE(others.parent_id, 0) = COALESCE(CAST(:parent_id AS BIGINT), 0)
        AND others.name = :name AND others.id <> :id
);

-- name: remove :exec
-- A folder with all that is below it; files and documents go with their folder.
DELETE FROM folders WHERE id IN (
    WITH RECURSIVE branches (id) AS (
        SELECT folders.id FROM folders WHERE folders.id = :id
        UNION ALL
        SELECT folders.id FROM folders JOIN branches ON folders.parent_id = branches.id
    )
    SELECT branches.id FROM branches
);

-- name: reaches :value
-- Whether there is such an account within reach.
SELECT count(*) FROM users
WHERE id = :id AND (:everyone = 1 OR id = :self_id OR group_id = CAST(:own_group_id AS BIGINT));
