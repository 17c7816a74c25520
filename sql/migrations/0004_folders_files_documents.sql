-- What people keep: folders, files whose bytes lie in DATA_DIR/blobs, and documents with their earlier texts.

-- One tree for each account. A parent goes only in the statement that deletes all below it, hence NO ACTION: SQLite
-- follows a CASCADE no deeper than a thousand levels.
CREATE TABLE folders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    parent_id INTEGER REFERENCES folders (id) ON DELETE NO ACTION,
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    name_key TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX folders_place ON folders (owner_id, coalesce(parent_id, 0), name);
CREATE INDEX folders_owner_id ON folders (owner_id, id);
CREATE INDEX folders_parent_id ON folders (parent_id);

-- An upload that has begun: what it may take counts in its owner's quota. The start of the service removes what is left.
CREATE TABLE file_uploads (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    reserved_bytes INTEGER NOT NULL CHECK (reserved_bytes >= 0),
    begun_at TEXT NOT NULL
) STRICT;
CREATE INDEX file_uploads_owner_id ON file_uploads (owner_id);

-- `sha256` (hexadecimal) names the blob that holds the bytes; several files may name one. `name_key` is the beginning of
-- the folded name, by which files are put in order, `search_text` the whole of it.
CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    folder_id INTEGER REFERENCES folders (id) ON DELETE CASCADE,
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    name_key TEXT NOT NULL,
    search_text TEXT NOT NULL,
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    media_type TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('image', 'video', 'audio', 'document', 'archive', 'other')),
    is_favorite INTEGER NOT NULL DEFAULT 0 CHECK (is_favorite IN (0, 1)),
    revision INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX files_updated_at ON files (updated_at, id);
CREATE INDEX files_owner_id ON files (owner_id, updated_at, id);
CREATE INDEX files_folder_id ON files (folder_id, name_key, id);
CREATE INDEX files_sha256 ON files (sha256);

-- Who else has a file: an account, the members of a team, or whoever has the link, of which the SHA-256 is kept.
CREATE TABLE file_shares (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    user_id INTEGER REFERENCES users (id) ON DELETE CASCADE,
    team_id INTEGER REFERENCES teams (id) ON DELETE CASCADE,
    link_sha256 TEXT UNIQUE CHECK (length(link_sha256) = 64),
    permission TEXT NOT NULL CHECK (permission IN ('read', 'edit')),
    expires_at TEXT,
    max_access_count INTEGER CHECK (max_access_count > 0),
    access_count INTEGER NOT NULL DEFAULT 0,
    created_by INTEGER REFERENCES users (id) ON DELETE SET NULL,
    created_at TEXT NOT NULL,
    UNIQUE (file_id, user_id),
    UNIQUE (file_id, team_id),
    CHECK (
        CASE WHEN user_id IS NULL THEN 0 ELSE 1 END + CASE WHEN team_id IS NULL THEN 0 ELSE 1 END
        + CASE WHEN link_sha256 IS NULL THEN 0 ELSE 1 END = 1
    )
) STRICT;
CREATE INDEX file_shares_user_id ON file_shares (user_id, file_id);
CREATE INDEX file_shares_team_id ON file_shares (team_id, file_id);
CREATE INDEX file_shares_created_by ON file_shares (created_by);

-- Each time that somebody other than its owner was given a file.
CREATE TABLE file_accesses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    share_id INTEGER REFERENCES file_shares (id) ON DELETE SET NULL,
    user_id INTEGER REFERENCES users (id) ON DELETE SET NULL,
    action TEXT NOT NULL CHECK (action IN ('download', 'copy')),
    ip TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
CREATE INDEX file_accesses_file_id ON file_accesses (file_id, id);
CREATE INDEX file_accesses_share_id ON file_accesses (share_id, ip, at);
CREATE INDEX file_accesses_user_id ON file_accesses (user_id);

-- `text_revision` is the revision in which title and content came to be as they are. `stored_bytes` counts the content
-- of the document and of its kept revisions.
CREATE TABLE documents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    folder_id INTEGER REFERENCES folders (id) ON DELETE CASCADE,
    title TEXT NOT NULL CHECK (length(title) BETWEEN 1 AND 255),
    title_key TEXT NOT NULL,
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    stored_bytes INTEGER NOT NULL CHECK (stored_bytes >= 0),
    text_revision INTEGER NOT NULL DEFAULT 1,
    edited_by INTEGER REFERENCES users (id) ON DELETE SET NULL,
    edited_at TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX documents_updated_at ON documents (updated_at, id);
CREATE INDEX documents_title ON documents (title_key, id);
CREATE INDEX documents_owner_id ON documents (owner_id, updated_at, id);
CREATE INDEX documents_owner_title ON documents (owner_id, title_key, id);
CREATE INDEX documents_folder_id ON documents (folder_id, title_key, id);
CREATE INDEX documents_edited_by ON documents (edited_by);

-- The text of a document, and title and text as they are searched. Beside the documents, whose lists do not read it.
CREATE TABLE document_texts (
    document_id INTEGER PRIMARY KEY REFERENCES documents (id) ON DELETE CASCADE,
    content TEXT NOT NULL,
    search_text TEXT NOT NULL
) STRICT;

-- Which signs follow each other in the words of a document: a bit in `t0` to `t15` for each three of them, in `p0` to `p3`
-- for each two beyond ASCII (app/documents/signs.py). What lacks one of what is searched need not be looked through.
CREATE TABLE document_signs (
    document_id INTEGER PRIMARY KEY REFERENCES documents (id) ON DELETE CASCADE,
    t0 INTEGER NOT NULL,
    t1 INTEGER NOT NULL,
    t2 INTEGER NOT NULL,
    t3 INTEGER NOT NULL,
    t4 INTEGER NOT NULL,
    t5 INTEGER NOT NULL,
    t6 INTEGER NOT NULL,
    t7 INTEGER NOT NULL,
    t8 INTEGER NOT NULL,
    t9 INTEGER NOT NULL,
    t10 INTEGER NOT NULL,
    t11 INTEGER NOT NULL,
    t12 INTEGER NOT NULL,
    t13 INTEGER NOT NULL,
    t14 INTEGER NOT NULL,
    t15 INTEGER NOT NULL,
    p0 INTEGER NOT NULL,
    p1 INTEGER NOT NULL,
    p2 INTEGER NOT NULL,
    p3 INTEGER NOT NULL
) STRICT;

-- What a document was before; `number` is the revision in which it came to be so.
CREATE TABLE document_revisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    document_id INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    title TEXT NOT NULL,
    content TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    edited_by INTEGER REFERENCES users (id) ON DELETE SET NULL,
    edited_at TEXT NOT NULL,
    UNIQUE (document_id, number)
) STRICT;
CREATE INDEX document_revisions_edited_by ON document_revisions (edited_by);

CREATE TABLE document_tags (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    document_id INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 50),
    name_key TEXT NOT NULL,
    UNIQUE (document_id, name_key)
) STRICT;
CREATE INDEX document_tags_name_key ON document_tags (name_key, document_id);

-- Who else has a document: an account, or the members of a team. A comment is allowed what reading is.
CREATE TABLE document_shares (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    document_id INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    user_id INTEGER REFERENCES users (id) ON DELETE CASCADE,
    team_id INTEGER REFERENCES teams (id) ON DELETE CASCADE,
    permission TEXT NOT NULL CHECK (permission IN ('read', 'comment', 'edit')),
    expires_at TEXT,
    created_by INTEGER REFERENCES users (id) ON DELETE SET NULL,
    created_at TEXT NOT NULL,
    UNIQUE (document_id, user_id),
    UNIQUE (document_id, team_id),
    CHECK (CASE WHEN user_id IS NULL THEN 0 ELSE 1 END + CASE WHEN team_id IS NULL THEN 0 ELSE 1 END = 1)
) STRICT;
CREATE INDEX document_shares_user_id ON document_shares (user_id, document_id);
CREATE INDEX document_shares_team_id ON document_shares (team_id, document_id);
CREATE INDEX document_shares_created_by ON document_shares (created_by);

-- How many bytes each account keeps, by what they are: the kinds of files, and `text` for documents. Written by the
-- triggers alone, so that a quota is asked of a few rows however many files there are.
CREATE TABLE storage_use (
    owner_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('image', 'video', 'audio', 'document', 'archive', 'other', 'text')),
    used_bytes INTEGER NOT NULL,
    PRIMARY KEY (owner_id, kind)
) STRICT;
CREATE TRIGGER files_added AFTER INSERT ON files BEGIN
    INSERT INTO storage_use (owner_id, kind, used_bytes) VALUES (new.owner_id, new.kind, new.size_bytes)
    ON CONFLICT (owner_id, kind) DO UPDATE SET used_bytes = used_bytes + excluded.used_bytes;
END;
CREATE TRIGGER files_removed AFTER DELETE ON files BEGIN
    UPDATE storage_use SET used_bytes = used_bytes - old.size_bytes WHERE owner_id = old.owner_id AND kind = old.kind;
END;
CREATE TRIGGER documents_added AFTER INSERT ON documents BEGIN
    INSERT INTO storage_use (owner_id, kind, used_bytes) VALUES (new.owner_id, 'text', new.stored_bytes)
    ON CONFLICT (owner_id, kind) DO UPDATE SET used_bytes = used_bytes + excluded.used_bytes;
END;
CREATE TRIGGER documents_changed AFTER UPDATE OF stored_bytes ON documents BEGIN
    UPDATE storage_use SET used_bytes = used_bytes + new.stored_bytes - old.stored_bytes
    WHERE owner_id = new.owner_id AND kind = 'text';
END;
CREATE TRIGGER documents_removed AFTER DELETE ON documents BEGIN
    UPDATE storage_use SET used_bytes = used_bytes - old.stored_bytes WHERE owner_id = old.owner_id AND kind = 'text';
END;
