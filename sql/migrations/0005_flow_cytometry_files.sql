-- Flow-cytometry files: what is known of each content, the names that people have for it, and uploads in chunks.

-- `sha256` (hexadecimal) names the blob that holds the bytes. `description` (JSON) is what the parser of that version
-- found; the columns before it are parts of it. `statistics` (JSON) are there when `status` is `done`.
CREATE TABLE fcs_contents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256 TEXT NOT NULL UNIQUE CHECK (length(sha256) = 64),
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    parser_version INTEGER NOT NULL,
    fcs_version TEXT NOT NULL,
    total_events INTEGER NOT NULL CHECK (total_events >= 0),
    total_parameters INTEGER NOT NULL CHECK (total_parameters > 0),
    warnings TEXT NOT NULL,
    description TEXT NOT NULL,
    -- pending: to be computed, or being computed; done; failed: `failure` says why
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'done', 'failed')),
    statistics TEXT,
    failure TEXT,
    ended_at TEXT,
    created_at TEXT NOT NULL,
    CHECK (CASE WHEN statistics IS NULL THEN 0 ELSE 1 END = CASE WHEN status = 'done' THEN 1 ELSE 0 END),
    CHECK (CASE WHEN failure IS NULL THEN 0 ELSE 1 END = CASE WHEN status = 'failed' THEN 1 ELSE 0 END)
) STRICT;
CREATE INDEX fcs_contents_status ON fcs_contents (status, id);

-- What somebody calls a content. Without an owner: the appliance's own, which everybody has who has none.
CREATE TABLE fcs_files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id INTEGER REFERENCES users (id) ON DELETE CASCADE,
    content_id INTEGER NOT NULL REFERENCES fcs_contents (id) ON DELETE NO ACTION,
    filename TEXT NOT NULL CHECK (length(filename) BETWEEN 1 AND 255),
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX fcs_files_owner_id ON fcs_files (owner_id, id);
CREATE INDEX fcs_files_content_id ON fcs_files (content_id);

-- An upload in chunks: all but the last have `chunk_bytes`. Until it is over, all its bytes count in its owner's quota.
CREATE TABLE fcs_uploads (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    filename TEXT NOT NULL CHECK (length(filename) BETWEEN 1 AND 255),
    size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
    chunk_bytes INTEGER NOT NULL CHECK (chunk_bytes > 0),
    sha256 TEXT CHECK (length(sha256) = 64),
    -- processing: chunks may come; completed: they are the file `file_id`
    status TEXT NOT NULL DEFAULT 'processing' CHECK (status IN ('processing', 'completed')),
    file_id INTEGER REFERENCES fcs_files (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    CHECK (CASE WHEN file_id IS NULL THEN 0 ELSE 1 END = CASE WHEN status = 'completed' THEN 1 ELSE 0 END)
) STRICT;
CREATE INDEX fcs_uploads_owner_id ON fcs_uploads (owner_id, id);
CREATE INDEX fcs_uploads_file_id ON fcs_uploads (file_id);
CREATE INDEX fcs_uploads_expires_at ON fcs_uploads (expires_at);

-- The chunks that have come, each a blob.
CREATE TABLE fcs_chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    upload_id INTEGER NOT NULL REFERENCES fcs_uploads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL CHECK (number >= 0),
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
    UNIQUE (upload_id, number)
) STRICT;
CREATE INDEX fcs_chunks_sha256 ON fcs_chunks (sha256);

-- One kind more: `fcs`. A CHECK cannot be changed, so the table is made anew, and with it the triggers that write it.
DROP TRIGGER files_added;
DROP TRIGGER files_removed;
DROP TRIGGER documents_added;
DROP TRIGGER documents_changed;
DROP TRIGGER documents_removed;
CREATE TABLE storage_use_by_kind (
    owner_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('image', 'video', 'audio', 'document', 'archive', 'other', 'text', 'fcs')),
    used_bytes INTEGER NOT NULL,
    PRIMARY KEY (owner_id, kind)
) STRICT;
INSERT INTO storage_use_by_kind (owner_id, kind, used_bytes) SELECT owner_id, kind, used_bytes FROM storage_use;
DROP TABLE storage_use;
ALTER TABLE storage_use_by_kind RENAME TO storage_use;
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
CREATE TRIGGER fcs_files_added AFTER INSERT ON fcs_files WHEN new.owner_id IS NOT NULL BEGIN
    INSERT INTO storage_use (owner_id, kind, used_bytes)
    SELECT new.owner_id, 'fcs', size_bytes FROM fcs_contents WHERE id = new.content_id
    ON CONFLICT (owner_id, kind) DO UPDATE SET used_bytes = used_bytes + excluded.used_bytes;
END;
-- A content goes with the last file that names it, whichever way that goes.
CREATE TRIGGER fcs_files_removed AFTER DELETE ON fcs_files BEGIN
    UPDATE storage_use
    SET used_bytes = used_bytes - (SELECT size_bytes FROM fcs_contents WHERE fcs_contents.id = old.content_id)
    WHERE owner_id = old.owner_id AND kind = 'fcs';
    DELETE FROM fcs_contents
    WHERE id = old.content_id AND NOT EXISTS (SELECT 1 FROM fcs_files WHERE content_id = old.content_id);
END;
