-- The trail is read, by time and by what it tells of; teams of accounts; passwords that are asked for anew.

-- `group_id` is the group that the actor belonged to then: what an admin of that group may read.
ALTER TABLE audit ADD COLUMN group_id INTEGER;
DROP INDEX audit_token_id;
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_token_id ON audit (token_id, at) WHERE token_id IS NOT NULL;
CREATE INDEX audit_actor_id ON audit (actor_id, at) WHERE actor_id IS NOT NULL;
CREATE INDEX audit_group_id ON audit (group_id, at) WHERE group_id IS NOT NULL;
CREATE INDEX audit_action ON audit (action, at) WHERE action IS NOT NULL;
CREATE INDEX audit_target ON audit (target, at) WHERE target IS NOT NULL;
CREATE INDEX audit_refused ON audit (at) WHERE authorized = 0;

-- People who share. A team whose owner's account is gone belongs to the member who has been in it longest.
CREATE TABLE teams (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    description TEXT NOT NULL DEFAULT '',
    owner_id INTEGER REFERENCES users (id) ON DELETE SET NULL,
    revision INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX teams_owner_id ON teams (owner_id);

-- Who is in a team, its owner among them; in the order of `id`.
CREATE TABLE team_members (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    team_id INTEGER NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    joined_at TEXT NOT NULL,
    UNIQUE (team_id, user_id)
) STRICT;
CREATE INDEX team_members_user_id ON team_members (user_id);

-- Somebody asked for a new password, of an account or of none: the row is written for both alike, and is gone once a
-- mail is on its way, or where there is nobody to write to. `due_at` is when it is looked at, again after each failure.
CREATE TABLE password_reset_requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    email_key TEXT NOT NULL,
    ip TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    asked_at TEXT NOT NULL,
    due_at TEXT NOT NULL
) STRICT;
CREATE INDEX password_reset_requests_due_at ON password_reset_requests (due_at, id);

-- What was mailed: the SHA-256 of a code (hexadecimal) that sets a new password once, until it expires, and while the
-- account has the same `session_epoch` and e-mail. `request_id` names the request that it answers, which may be gone.
CREATE TABLE password_resets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    epoch INTEGER NOT NULL,
    email_key TEXT NOT NULL,
    code_sha256 TEXT NOT NULL UNIQUE CHECK (length(code_sha256) = 64),
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
) STRICT;
CREATE INDEX password_resets_request_id ON password_resets (request_id);
CREATE INDEX password_resets_user_id ON password_resets (user_id, id);
CREATE INDEX password_resets_expires_at ON password_resets (expires_at);

-- The queue's index, in words from which SQLite sees that `status = 'running'` is among them.
DROP INDEX package_attempts_live;
CREATE INDEX package_attempts_live ON package_attempts (status, id) WHERE status = 'queued' OR status = 'running';
