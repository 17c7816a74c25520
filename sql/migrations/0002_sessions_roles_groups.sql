-- Accounts of many people: profiles, groups, roles with their permissions, sessions, and what slows guessing down.

-- A group of accounts. `uniform_number` is eight digits; `max_allowed_streams` bounds the streams of its sites.
CREATE TABLE groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    uniform_number TEXT NOT NULL UNIQUE CHECK (length(uniform_number) = 8),
    max_allowed_streams INTEGER NOT NULL DEFAULT 8 CHECK (max_allowed_streams >= 0),
    revision INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

-- `role` is an account's first role, by name; those beside it stand in user_roles.
-- `search_text` holds username, e-mail and full name, casefolded in Python, for searching.
ALTER TABLE users ADD COLUMN group_id INTEGER REFERENCES groups (id) ON DELETE SET NULL;
ALTER TABLE users ADD COLUMN phone TEXT;
ALTER TABLE users ADD COLUMN avatar TEXT;
ALTER TABLE users ADD COLUMN department TEXT;
ALTER TABLE users ADD COLUMN position TEXT;
ALTER TABLE users ADD COLUMN bio TEXT;
ALTER TABLE users ADD COLUMN search_text TEXT NOT NULL DEFAULT '';
UPDATE users SET search_text = username_key;
CREATE INDEX users_group_id ON users (group_id);
CREATE INDEX users_role ON users (role);

-- What accounts may do. `grants` is a JSON list of {"permission", "reach"}. Roles that are built in stay; super_admin
-- is never changed.
CREATE TABLE roles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 50),
    label TEXT NOT NULL CHECK (length(label) BETWEEN 1 AND 100),
    description TEXT NOT NULL DEFAULT '',
    built_in INTEGER NOT NULL DEFAULT 0 CHECK (built_in IN (0, 1)),
    grants TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

-- The roles of an account beside its first one.
CREATE TABLE user_roles (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role_id INTEGER NOT NULL REFERENCES roles (id) ON DELETE RESTRICT,
    PRIMARY KEY (user_id, role_id)
) STRICT;
CREATE INDEX user_roles_role_id ON user_roles (role_id);

-- One row per signed-in device; gone when it ends. It holds while `epoch` is the account's session_epoch. `nonce` is
-- random: a token of another database's session with the same id does not pass for one of this.
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    epoch INTEGER NOT NULL,
    nonce TEXT NOT NULL CHECK (length(nonce) = 32),
    ip TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    created_at TEXT NOT NULL,
    last_used_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_user_id ON sessions (user_id, id);
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- The refresh tokens of a session, by the SHA-256 of the secret (hexadecimal). A used one stays until it expires, so
-- that using it again is noticed.
CREATE TABLE refresh_tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    secret_sha256 TEXT NOT NULL UNIQUE CHECK (length(secret_sha256) = 64),
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    used_at TEXT
) STRICT;
CREATE INDEX refresh_tokens_session_id ON refresh_tokens (session_id);

-- Wrong passwords, forgotten after a day. `subject` is `users/7`, or for an identifier that names no account its
-- keyed hash: what was typed there may have been a password. `source` is the address, of IPv6 its /64 network.
CREATE TABLE sign_in_failures (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    subject TEXT NOT NULL,
    source TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
CREATE INDEX sign_in_failures_subject ON sign_in_failures (subject, at);
CREATE INDEX sign_in_failures_at ON sign_in_failures (at);

-- From where each account has signed in lately: such an address is not shut out by guesses from elsewhere.
CREATE TABLE sign_in_sources (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    source TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (user_id, source)
) STRICT;

-- Of a token whose secret was replaced: the old one's SHA-256, and until when it still works.
ALTER TABLE tokens ADD COLUMN old_sha256 TEXT;
ALTER TABLE tokens ADD COLUMN old_until TEXT;
CREATE UNIQUE INDEX tokens_old_sha256 ON tokens (old_sha256) WHERE old_sha256 IS NOT NULL;

INSERT INTO roles (name, label, description, built_in, grants, created_at, updated_at) VALUES
('super_admin', 'Super administrator', 'Everything', 1,
 '[{"permission":"*","reach":"all"}]',
 '2026-11-21T00:00:00.000Z', '2026-11-21T00:00:00.000Z'),
('admin', 'Administrator',
 'People, teams and everything they keep; the roles, groups, features and the system to look at', 1,
 '[{"permission":"analytics:*","reach":"all"},{"permission":"audit:*","reach":"all"},
{"permission":"calendar:*","reach":"all"},{"permission":"dashboard:*","reach":"all"},
{"permission":"documents:*","reach":"all"},{"permission":"fcs:*","reach":"all"},
{"permission":"features:read","reach":"all"},{"permission":"files:*","reach":"all"},
{"permission":"folders:*","reach":"all"},{"permission":"groups:read","reach":"all"},
{"permission":"messages:*","reach":"all"},{"permission":"notifications:*","reach":"all"},
{"permission":"packages:*","reach":"all"},{"permission":"projects:*","reach":"all"},
{"permission":"roles:read","reach":"all"},{"permission":"security:*","reach":"all"},
{"permission":"settings:*","reach":"all"},{"permission":"sites:*","reach":"all"},
{"permission":"streams:*","reach":"all"},{"permission":"system:read","reach":"all"},
{"permission":"teams:*","reach":"all"},{"permission":"tokens:*","reach":"all"},
{"permission":"users:*","reach":"all"},{"permission":"workspaces:*","reach":"all"}]',
 '2026-11-21T00:00:00.000Z', '2026-11-21T00:00:00.000Z'),
('user', 'User', 'What is theirs; packages, features and the dashboard to look at', 1,
 '[{"permission":"users:write","reach":"own"},{"permission":"tokens:write","reach":"own"},
{"permission":"teams:delete","reach":"own"},{"permission":"documents:delete","reach":"own"},
{"permission":"folders:delete","reach":"own"},{"permission":"files:delete","reach":"own"},
{"permission":"messages:delete","reach":"own"},{"permission":"notifications:delete","reach":"own"},
{"permission":"calendar:delete","reach":"own"},{"permission":"projects:delete","reach":"own"},
{"permission":"workspaces:admin","reach":"own"},{"permission":"fcs:analyze","reach":"own"},
{"permission":"settings:write","reach":"own"},{"permission":"packages:read","reach":"all"},
{"permission":"features:read","reach":"all"},{"permission":"dashboard:read","reach":"all"}]',
 '2026-11-21T00:00:00.000Z', '2026-11-21T00:00:00.000Z'),
('guest', 'Guest', 'The dashboard to look at', 1,
 '[{"permission":"dashboard:read","reach":"all"},{"permission":"users:read","reach":"own"}]',
 '2026-11-21T00:00:00.000Z', '2026-11-21T00:00:00.000Z');
