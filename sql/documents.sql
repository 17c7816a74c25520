-- Documents: titles and texts, their tags, what they were before, who else has them.

-- name: cards :many
-- Of these documents those that a caller reaches, or has through a share that holds; `access` is the most they may do.
-- lint: unbounded because the ids are those of one page
SELECT
    documents.id, documents.title, documents.folder_id, documents.owner_id, users.username AS owner_name,
    CASE
        WHEN :everyone = 1 OR documents.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT) THEN 'full'
        WHEN EXISTS (
            SELECT 1 FROM document_shares
            WHERE document_shares.document_id = documents.id AND document_shares.permission = 'edit'
                AND (document_shares.expires_at IS NULL OR document_shares.expires_at > :now)
                AND (
                    document_shares.user_id = :self_id
                    OR document_shares.team_id IN (SELECT team_id FROM team_members WHERE user_id = :self_id)
                )
        ) THEN 'edit'
        ELSE 'read'
    END AS access,
    documents.size_bytes, documents.revision, documents.created_at, documents.updated_at
FROM documents JOIN users ON users.id = documents.owner_id
WHERE documents.id IN (SELECT CAST(value AS BIGINT) FROM json_each(:ids))
    AND (
        :everyone = 1 OR documents.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT)
        OR EXISTS (
            SELECT 1 FROM document_shares
            WHERE document_shares.document_id = documents.id
                AND (document_shares.expires_at IS NULL OR document_shares.expires_at > :now)
                AND (
                    document_shares.user_id = :self_id
                    OR document_shares.team_id IN (SELECT team_id FROM team_members WHERE user_id = :self_id)
                )
        )
    )
ORDER BY documents.id;

-- name: tags_of :many
-- The tags of these documents.
-- lint: unbounded because the ids are those of one page, and a document has at most 50 tags
SELECT document_id, name
FROM document_tags
WHERE document_id IN (SELECT CAST(value AS BIGINT) FROM json_each(:ids))
ORDER BY document_id, id;

-- name: content :value
-- None when the document is gone.
SELECT content FROM document_texts WHERE document_id = :id;

-- name: reachable_newest :many
-- Those of all accounts, or of a group, the newest first.
SELECT documents.updated_at AS place, documents.id
FROM documents JOIN users ON users.id = documents.owner_id
WHERE (:everyone = 1 OR documents.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
    AND documents.updated_at <= :behind AND (documents.updated_at < :behind OR documents.id < :behind_id)
    AND (CAST(:owner_id AS BIGINT) IS NULL OR documents.owner_id = :owner_id)
    AND (:at_root = 0 OR documents.folder_id IS NULL)
    AND (
        CAST(:tags AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM document_tags
            WHERE document_tags.document_id = documents.id
                AND document_tags.name_key IN (SELECT value FROM json_each(:tags))
        )
    )
ORDER BY documents.updated_at DESC, documents.id DESC
LIMIT :limit;

-- name: reachable_titles :many
-- As `reachable_newest`, by title.
SELECT documents.title_key AS place, documents.id
FROM documents JOIN users ON users.id = documents.owner_id
WHERE (:everyone = 1 OR documents.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
    AND documents.title_key >= :behind AND (documents.title_key > :behind OR documents.id > :behind_id)
    AND (CAST(:owner_id AS BIGINT) IS NULL OR documents.owner_id = :owner_id)
    AND (:at_root = 0 OR documents.folder_id IS NULL)
    AND (
        CAST(:tags AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM document_tags
            WHERE document_tags.document_id = documents.id
                AND document_tags.name_key IN (SELECT value FROM json_each(:tags))
        )
    )
ORDER BY documents.title_key, documents.id
LIMIT :limit;

-- name: count_reachable :value
SELECT count(*)
FROM documents JOIN users ON users.id = documents.owner_id
WHERE (:everyone = 1 OR documents.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
    AND (CAST(:owner_id AS BIGINT) IS NULL OR documents.owner_id = :owner_id)
    AND (:at_root = 0 OR documents.folder_id IS NULL)
    AND (
        CAST(:tags AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM document_tags
            WHERE document_tags.document_id = documents.id
                AND document_tags.name_key IN (SELECT value FROM json_each(:tags))
        )
    );

-- name: of_owner_newest :many
-- Those of one account, the newest first.
SELECT updated_at AS place, id
FROM documents
WHERE owner_id = :owner_id
    AND updated_at <= :behind AND (updated_at < :behind OR id < :behind_id)
    AND (:at_root = 0 OR folder_id IS NULL)
    AND (
        CAST(:tags AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM document_tags
            WHERE document_tags.document_id = documents.id
                AND document_tags.name_key IN (SELECT value FROM json_each(:tags))
        )
    )
ORDER BY updated_at DESC, id DESC
LIMIT :limit;

-- name: of_owner_titles :many
-- Those of one account, by title.
SELECT title_key AS place, id
FROM documents
WHERE owner_id = :owner_id
    AND title_key >= :behind AND (title_key > :behind OR id > :behind_id)
    AND (:at_root = 0 OR folder_id IS NULL)
    AND (
        CAST(:tags AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM document_tags
            WHERE document_tags.document_id = documents.id
                AND document_tags.name_key IN (SELECT value FROM json_each(:tags))
        )
    )
ORDER BY title_key, id
LIMIT :limit;

-- name: count_of_owner :value
SELECT count(*)
FROM documents
WHERE owner_id = :owner_id
    AND (:at_root = 0 OR folder_id IS NULL)
    AND (
        CAST(:tags AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM document_tags
            WHERE document_tags.document_id = documents.id
                AND document_tags.name_key IN (SELECT value FROM json_each(:tags))
        )
    );

-- name: shared_newest :many
-- Those that others share with a caller who does not reach them, the newest first.
SELECT documents.updated_at AS place, documents.id
FROM documents JOIN users ON users.id = documents.owner_id
WHERE documents.id IN (
    SELECT document_shares.document_id FROM document_shares
    WHERE (
        document_shares.user_id = :self_id
        OR document_shares.team_id IN (SELECT team_id FROM team_members WHERE user_id = :self_id)
    )
        AND (document_shares.expires_at IS NULL OR document_shares.expires_at > :now)
)
    AND documents.owner_id <> :self_id
    AND (CAST(:own_group_id AS BIGINT) IS NULL OR users.group_id IS DISTINCT FROM :own_group_id)
    AND documents.updated_at <= :behind AND (documents.updated_at < :behind OR documents.id < :behind_id)
    AND (CAST(:owner_id AS BIGINT) IS NULL OR documents.owner_id = :owner_id)
    AND (
        CAST(:tags AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM document_tags
            WHERE document_tags.document_id = documents.id
                AND document_tags.name_key IN (SELECT value FROM json_each(:tags))
        )
    )
ORDER BY documents.updated_at DESC, documents.id DESC
LIMIT :limit;

-- name: shared_titles :many
-- As `shared_newest`, by title.
SELECT documents.title_key AS place, documents.id
FROM documents JOIN users ON users.id = documents.owner_id
WHERE documents.id IN (
    SELECT document_shares.document_id FROM document_shares
    WHERE (
        document_shares.user_id = :self_id
        OR document_shares.team_id IN (SELECT team_id FROM team_members WHERE user_id = :self_id)
    )
        AND (document_shares.expires_at IS NULL OR document_shares.expires_at > :now)
)
    AND documents.owner_id <> :self_id
    AND (CAST(:own_group_id AS BIGINT) IS NULL OR users.group_id IS DISTINCT FROM :own_group_id)
    AND documents.title_key >= :behind AND (documents.title_key > :behind OR documents.id > :behind_id)
    AND (CAST(:owner_id AS BIGINT) IS NULL OR documents.owner_id = :owner_id)
    AND (
        CAST(:tags AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM document_tags
            WHERE document_tags.document_id = documents.id
                AND document_tags.name_key IN (SELECT value FROM json_each(:tags))
        )
    )
ORDER BY documents.title_key, documents.id
LIMIT :limit;

-- name: count_shared :value
SELECT count(*)
FROM documents JOIN users ON users.id = documents.owner_id
WHERE documents.id IN (
    SELECT document_shares.document_id FROM document_shares
    WHERE (
        document_shares.user_id = :self_id
        OR document_shares.team_id IN (SELECT team_id FROM team_members WHERE user_id = :self_id)
    )
        AND (document_shares.expires_at IS NULL OR document_shares.expires_at > :now)
)
    AND documents.owner_id <> :self_id
    AND (CAST(:own_group_id AS BIGINT) IS NULL OR users.group_id IS DISTINCT FROM :own_group_id)
    AND (CAST(:owner_id AS BIGINT) IS NULL OR documents.owner_id = :owner_id)
    AND (
        CAST(:tags AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM document_tags
            WHERE document_tags.document_id = documents.id
                AND document_tags.name_key IN (SELECT value FROM json_each(:tags))
        )
    );

-- name: in_folder_newest :many
-- What lies in a folder that a caller reaches, the newest first.
SELECT documents.updated_at AS place, documents.id
FROM documents JOIN users ON users.id = documents.owner_id
WHERE documents.folder_id = :folder_id
    AND (:everyone = 1 OR documents.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
    AND documents.updated_at <= :behind AND (documents.updated_at < :behind OR documents.id < :behind_id)
    AND (CAST(:owner_id AS BIGINT) IS NULL OR documents.owner_id = :owner_id)
    AND (
        CAST(:tags AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM document_tags
            WHERE document_tags.document_id = documents.id
                AND document_tags.name_key IN (SELECT value FROM json_each(:tags))
        )
    )
ORDER BY documents.updated_at DESC, documents.id DESC
LIMIT :limit;

-- name: in_folder_titles :many
-- What lies in a folder that a caller reaches, by title.
SELECT documents.title_key AS place, documents.id
FROM documents JOIN users ON users.id = documents.owner_id
WHERE documents.folder_id = :folder_id
    AND (:everyone = 1 OR documents.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
    AND documents.title_key >= :behind AND (documents.title_key > :behind OR documents.id > :behind_id)
    AND (CAST(:owner_id AS BIGINT) IS NULL OR documents.owner_id = :owner_id)
    AND (
        CAST(:tags AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM document_tags
            WHERE document_tags.document_id = documents.id
                AND document_tags.name_key IN (SELECT value FROM json_each(:tags))
        )
    )
ORDER BY documents.title_key, documents.id
LIMIT :limit;

-- name: count_in_folder :value
SELECT count(*)
FROM documents JOIN users ON users.id = documents.owner_id
WHERE documents.folder_id = :folder_id
    AND (:everyone = 1 OR documents.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
    AND (CAST(:owner_id AS BIGINT) IS NULL OR documents.owner_id = :owner_id)
    AND (
        CAST(:tags AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM document_tags
            WHERE document_tags.document_id = documents.id
                AND document_tags.name_key IN (SELECT value FROM json_each(:tags))
        )
    );

-- name: matching :many
-- Of these documents those in which a text is found.
-- lint: unbounded because the ids are those of one look
SELECT document_id AS id
FROM document_texts
WHERE document_id IN (SELECT CAST(value AS BIGINT) FROM json_each(:ids)) AND search_text LIKE :pattern ESCAPE '\'
ORDER BY document_id;

-- name: search_newest :many
-- All in which a text is found, the newest first: of those alone whose signature has its bits.
SELECT documents.updated_at AS place, documents.id
FROM documents JOIN users ON users.id = documents.owner_id
WHERE documents.id IN (
    SELECT document_signs.document_id FROM document_signs
    WHERE
        (t0 & :t0) = :t0 AND (t1 & :t1) = :t1 AND (t2 & :t2) = :t2 AND (t3 & :t3) = :t3
        AND (t4 & :t4) = :t4 AND (t5 & :t5) = :t5 AND (t6 & :t6) = :t6 AND (t7 & :t7) = :t7
        AND (t8 & :t8) = :t8 AND (t9 & :t9) = :t9 AND (t10 & :t10) = :t10 AND (t11 & :t11) = :t11
        AND (t12 & :t12) = :t12 AND (t13 & :t13) = :t13 AND (t14 & :t14) = :t14 AND (t15 & :t15) = :t15
        AND (p0 & :p0) = :p0 AND (p1 & :p1) = :p1 AND (p2 & :p2) = :p2 AND (p3 & :p3) = :p3
)
    AND EXISTS (
        SELECT 1 FROM document_texts
        WHERE document_texts.document_id = documents.id AND document_texts.search_text LIKE :pattern ESCAPE '\'
    )
    AND (
        (
            :reached = 1
            AND (:everyone = 1 OR documents.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
        )
        OR (
            :shared = 1 AND documents.owner_id <> :self_id
            AND documents.id IN (
                SELECT document_shares.document_id FROM document_shares
                WHERE (
                    document_shares.user_id = :self_id
                    OR document_shares.team_id IN (SELECT team_id FROM team_members WHERE user_id = :self_id)
                )
                    AND (document_shares.expires_at IS NULL OR document_shares.expires_at > :now)
            )
        )
    )
    AND documents.updated_at <= :behind AND (documents.updated_at < :behind OR documents.id < :behind_id)
    AND (CAST(:owner_id AS BIGINT) IS NULL OR documents.owner_id = :owner_id)
    AND (CAST(:folder_id AS BIGINT) IS NULL OR COALESCE(documents.folder_id, 0) = :folder_id)
    AND (
        CAST(:tags AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM document_tags
            WHERE document_tags.document_id = documents.id
                AND document_tags.name_key IN (SELECT value FROM json_each(:tags))
        )
    )
ORDER BY documents.updated_at DESC, documents.id DESC
LIMIT :limit;

-- name: search_titles :many
-- As `search_newest`, by title.
SELECT documents.title_key AS place, documents.id
FROM documents JOIN users ON users.id = documents.owner_id
WHERE documents.id IN (
    SELECT document_signs.document_id FROM document_signs
    WHERE
        (t0 & :t0) = :t0 AND (t1 & :t1) = :t1 AND (t2 & :t2) = :t2 AND (t3 & :t3) = :t3
        AND (t4 & :t4) = :t4 AND (t5 & :t5) = :t5 AND (t6 & :t6) = :t6 AND (t7 & :t7) = :t7
        AND (t8 & :t8) = :t8 AND (t9 & :t9) = :t9 AND (t10 & :t10) = :t10 AND (t11 & :t11) = :t11
        AND (t12 & :t12) = :t12 AND (t13 & :t13) = :t13 AND (t14 & :t14) = :t14 AND (t15 & :t15) = :t15
        AND (p0 & :p0) = :p0 AND (p1 & :p1) = :p1 AND (p2 & :p2) = :p2 AND (p3 & :p3) = :p3
)
    AND EXISTS (
        SELECT 1 FROM document_texts
        WHERE document_texts.document_id = documents.id AND document_texts.search_text LIKE :pattern ESCAPE '\'
    )
    AND (
        (
            :reached = 1
            AND (:everyone = 1 OR documents.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
        )
        OR (
            :shared = 1 AND documents.owner_id <> :self_id
            AND documents.id IN (
                SELECT document_shares.document_id FROM document_shares
                WHERE (
                    document_shares.user_id = :self_id
                    OR document_shares.team_id IN (SELECT team_id FROM team_members WHERE user_id = :self_id)
                )
                    AND (document_shares.expires_at IS NULL OR document_shares.expires_at > :now)
            )
        )
    )
    AND documents.title_key >= :behind AND (documents.title_key > :behind OR documents.id > :behind_id)
    AND (CAST(:owner_id AS BIGINT) IS NULL OR documents.owner_id = :owner_id)
    AND (CAST(:folder_id AS BIGINT) IS NULL OR COALESCE(documents.folder_id, 0) = :folder_id)
    AND (
        CAST(:tags AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM document_tags
            WHERE document_tags.document_id = documents.id
                AND document_tags.name_key IN (SELECT value FROM json_each(:tags))
        )
    )
ORDER BY documents.title_key, documents.id
LIMIT :limit;

-- name: count_search :value
SELECT count(*)
FROM documents JOIN users ON users.id = documents.owner_id
WHERE documents.id IN (
    SELECT document_signs.document_id FROM document_signs
    WHERE
        (t0 & :t0) = :t0 AND (t1 & :t1) = :t1 AND (t2 & :t2) = :t2 AND (t3 & :t3) = :t3
        AND (t4 & :t4) = :t4 AND (t5 & :t5) = :t5 AND (t6 & :t6) = :t6 AND (t7 & :t7) = :t7
        AND (t8 & :t8) = :t8 AND (t9 & :t9) = :t9 AND (t10 & :t10) = :t10 AND (t11 & :t11) = :t11
        AND (t12 & :t12) = :t12 AND (t13 & :t13) = :t13 AND (t14 & :t14) = :t14 AND (t15 & :t15) = :t15
        AND (p0 & :p0) = :p0 AND (p1 & :p1) = :p1 AND (p2 & :p2) = :p2 AND (p3 & :p3) = :p3
)
    AND EXISTS (
        SELECT 1 FROM document_texts
        WHERE document_texts.document_id = documents.id AND document_texts.search_text LIKE :pattern ESCAPE '\'
    )
    AND (
        (
            :reached = 1
            AND (:everyone = 1 OR documents.owner_id = :self_id OR users.group_id = CAST(:own_group_id AS BIGINT))
        )
        OR (
            :shared = 1 AND documents.owner_id <> :self_id
            AND documents.id IN (
                SELECT document_shares.document_id FROM document_shares
                WHERE (
                    document_shares.user_id = :self_id
                    OR document_shares.team_id IN (SELECT team_id FROM team_members WHERE user_id = :self_id)
                )
                    AND (document_shares.expires_at IS NULL OR document_shares.expires_at > :now)
            )
        )
    )
    AND (CAST(:owner_id AS BIGINT) IS NULL OR documents.owner_id = :owner_id)
    AND (CAST(:folder_id AS BIGINT) IS NULL OR COALESCE(documents.folder_id, 0) = :folder_id)
    AND (
        CAST(:tags AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM document_tags
            WHERE document_tags.document_id = documents.id
                AND document_tags.name_key IN (SELECT value FROM json_each(:tags))
        )
    );

-- name: add :value
-- The id of the new document.
INSERT INTO documents (
    owner_id, folder_id, title, title_key, size_bytes, stored_bytes, edited_by, edited_at, created_at, updated_at
) VALUES (:owner_id, :folder_id, :title, :title_key, :size_bytes, :size_bytes, :owner_id, :now, :now, :now)
RETURNING id;

-- name: add_text :exec
INSERT INTO document_texts (document_id, content, search_text) VALUES (:id, :content, :search_text);

-- name: add_signs :exec
INSERT INTO document_signs (
    document_id,
    t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12, t13, t14, t15,
    p0, p1, p2, p3
) VALUES (
    :id,
    :t0, :t1, :t2, :t3, :t4, :t5, :t6, :t7, :t8, :t9, :t10, :t11, :t12, :t13, :t14, :t15,
    :p0, :p1, :p2, :p3
);

-- name: set_text :exec
UPDATE document_texts SET content = :content, search_text = :search_text WHERE document_id = :id;

-- name: set_signs :exec
UPDATE document_signs
SET
    t0 = :t0, t1 = :t1, t2 = :t2, t3 = :t3, t4 = :t4, t5 = :t5, t6 = :t6, t7 = :t7,
    t8 = :t8, t9 = :t9, t10 = :t10, t11 = :t11, t12 = :t12, t13 = :t13, t14 = :t14, t15 = :t15,
    p0 = :p0, p1 = :p1, p2 = :p2, p3 = :p3
WHERE document_id = :id;

-- name: keep_revision :exec
-- What the document is becomes what it was.
INSERT INTO document_revisions (document_id, number, title, content, size_bytes, edited_by, edited_at)
SELECT
    documents.id, documents.text_revision, documents.title, document_texts.content, documents.size_bytes,
    documents.edited_by, documents.edited_at
FROM documents JOIN document_texts ON document_texts.document_id = documents.id
WHERE documents.id = :id;

-- name: forget_revisions :exec
-- Of a document's revisions the newest stay.
DELETE FROM document_revisions
WHERE document_id = :id AND number <= (
    SELECT number FROM document_revisions WHERE document_id = :id ORDER BY number DESC LIMIT 1 OFFSET :most
);

-- name: edit :exec
-- Title and text are others than they were.
UPDATE documents
SET
    title = :title, title_key = :title_key, size_bytes = :size_bytes, text_revision = revision + 1,
    stored_bytes = :size_bytes + (
        SELECT CAST(COALESCE(sum(document_revisions.size_bytes), 0) AS BIGINT) FROM document_revisions
        WHERE document_revisions.document_id = :id
    ),
    edited_by = :edited_by, edited_at = :now, revision = revision + 1, updated_at = :now
WHERE id = :id;

-- name: move :exec
UPDATE documents SET folder_id = :folder_id, revision = revision + 1, updated_at = :now WHERE id = :id;

-- name: touch :exec
-- Its tags are others than they were.
UPDATE documents SET revision = revision + 1, updated_at = :now WHERE id = :id;

-- name: remove :exec
DELETE FROM documents WHERE id = :id;

-- name: remove_many :many
-- The ids of those that are gone: of these documents the ones within reach.
-- lint: unbounded because the ids are those of one call
DELETE FROM documents
WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(:ids))
    AND (
        :everyone = 1 OR owner_id = :self_id
        OR owner_id IN (SELECT users.id FROM users WHERE users.group_id = CAST(:own_group_id AS BIGINT))
    )
RETURNING id;

-- name: clear_tags :exec
DELETE FROM document_tags WHERE document_id = :id;

-- name: add_tag :exec
INSERT INTO document_tags (document_id, name, name_key) VALUES (:id, :name, :name_key)
ON CONFLICT (document_id, name_key) DO NOTHING;

-- name: shares :many
-- lint: unbounded because a document has at most 1,000 shares
SELECT
    document_shares.id, document_shares.user_id, users.username, document_shares.team_id, teams.name AS team_name,
    document_shares.permission, document_shares.expires_at, document_shares.created_by, document_shares.created_at
FROM document_shares
LEFT JOIN users ON users.id = document_shares.user_id
LEFT JOIN teams ON teams.id = document_shares.team_id
WHERE document_shares.document_id = :id
ORDER BY document_shares.id;

-- name: count_shares :value
SELECT count(*) FROM document_shares WHERE document_id = :id;

-- name: drop_expired :exec
-- Removes the shares of a document that have ended.
DELETE FROM document_shares WHERE document_id = :id AND expires_at <= :now;

-- name: share_again :exec
-- No row: the account or the team has no share of the document.
UPDATE document_shares
SET permission = :permission, expires_at = :expires_at
WHERE document_id = :id
    AND user_id IS NOT DISTINCT FROM CAST(:user_id AS BIGINT) AND team_id IS NOT DISTINCT FROM CAST(:team_id AS BIGINT);

-- name: share :exec
INSERT INTO document_shares (document_id, user_id, team_id, permission, expires_at, created_by, created_at)
VALUES (:id, :user_id, :team_id, :permission, :expires_at, :created_by, :now);

-- name: unshare :exec
DELETE FROM document_shares
WHERE document_id = :id
    AND user_id IS NOT DISTINCT FROM CAST(:user_id AS BIGINT) AND team_id IS NOT DISTINCT FROM CAST(:team_id AS BIGINT);

-- name: revisions :many
-- What a document is and was, the newest first; without the texts.
SELECT
    versions.number, versions.title, versions.size_bytes, versions.edited_by, users.username AS editor_name,
    versions.edited_at
FROM (
    SELECT document_revisions.number, document_revisions.title, document_revisions.size_bytes,
        document_revisions.edited_by, document_revisions.edited_at
    FROM document_revisions
    WHERE document_revisions.document_id = :id
    UNION ALL
    SELECT documents.text_revision, documents.title, documents.size_bytes, documents.edited_by, documents.edited_at
    FROM documents
    WHERE documents.id = :id
) AS versions LEFT JOIN users ON users.id = versions.edited_by
WHERE versions.number < :before
ORDER BY versions.number DESC
LIMIT :limit;

-- name: count_revisions :value
SELECT 1 + count(*) FROM document_revisions WHERE document_id = :id;

-- name: revision :one
-- A revision with its text; None when there is none of this number, or no more.
SELECT
    versions.number, versions.title, versions.content, versions.size_bytes, versions.edited_by,
    users.username AS editor_name, versions.edited_at
FROM (
    SELECT document_revisions.number, document_revisions.title, document_revisions.content,
        document_revisions.size_bytes, document_revisions.edited_by, document_revisions.edited_at
    FROM document_revisions
    WHERE document_revisions.document_id = :id AND document_revisions.number = :number
    UNION ALL
    SELECT documents.text_revision, documents.title, document_texts.content, documents.size_bytes,
        documents.edited_by, documents.edited_at
    FROM documents JOIN document_texts ON document_texts.document_id = documents.id
    WHERE documents.id = :id AND documents.text_revision = :number
) AS versions LEFT JOIN users ON users.id = versions.edited_by;
