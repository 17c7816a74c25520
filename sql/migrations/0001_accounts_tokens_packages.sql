-- Accounts, access tokens and the audit trail; packages, their download attempts and their activations.

-- One row for ever, once somebody has claimed the appliance: `slot` is unique and always 1.
CREATE TABLE claims (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    slot INTEGER NOT NULL UNIQUE CHECK (slot = 1),
    claimed_at TEXT NOT NULL
) STRICT;

-- `username_key` and `email_key` are the casefolded forms (folded in Python); no password: password_hash is null.
-- `session_epoch` rises with whatever must end the account's sessions.
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    username TEXT NOT NULL CHECK (length(username) BETWEEN 1 AND 100),
    username_key TEXT NOT NULL UNIQUE,
    email TEXT,
    email_key TEXT UNIQUE,
    full_name TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL CHECK (status IN ('pending', 'active', 'inactive', 'suspended')),
    role TEXT NOT NULL,
    password_hash TEXT,
    session_epoch INTEGER NOT NULL DEFAULT 0,
    revision INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    last_login_at TEXT
) STRICT;

-- Access tokens: never the secret, only its SHA-256 (hexadecimal) and the first 12 characters for people.
-- `scopes` is a JSON list as granted; `allowed_ips` a JSON list or null for anywhere; `expires_at` null for never.
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    prefix TEXT NOT NULL CHECK (length(prefix) = 12),
    secret_sha256 TEXT NOT NULL UNIQUE CHECK (length(secret_sha256) = 64),
    scopes TEXT NOT NULL,
    allowed_ips TEXT,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    last_used_at TEXT,
    revoked_at TEXT
) STRICT;
CREATE INDEX tokens_user_id ON tokens (user_id, id);

-- What happened. Nothing refers to other tables: the trail outlives what it tells of.
-- `kind` is `call` (a request) or `change` (something that was altered, with or without a request).
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('call', 'change')),
    request_id TEXT,
    actor_id INTEGER,
    actor_name TEXT,
    token_id INTEGER,
    session_id INTEGER,
    ip TEXT,
    method TEXT,
    path TEXT,
    route TEXT,
    status INTEGER,
    authorized INTEGER NOT NULL CHECK (authorized IN (0, 1)),
    reason TEXT,
    action TEXT,
    target TEXT
) STRICT;
CREATE INDEX audit_token_id ON audit (token_id, id) WHERE token_id IS NOT NULL;

-- Software known to the appliance, one row per name and version. States, each change one guarded UPDATE:
--   created      known, nothing fetched yet (also after a cancelled download)
--   downloading  an attempt is queued or running
--   downloaded   built: `store_path` is there and rooted against garbage collection
--   activated    the profile of its name points at it; at most one version per name
--   failed       the last attempt failed, or its path was found damaged: `failure`, `failure_detail`
CREATE TABLE packages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    version TEXT NOT NULL CHECK (length(version) BETWEEN 1 AND 100),
    status TEXT NOT NULL CHECK (status IN ('created', 'downloading', 'downloaded', 'activated', 'failed')),
    store_path TEXT,
    closure_bytes INTEGER,
    failure TEXT,
    failure_detail TEXT,
    revision INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    downloaded_at TEXT,
    activated_at TEXT,
    UNIQUE (name, version)
) STRICT;
CREATE UNIQUE INDEX packages_one_active ON packages (name) WHERE status = 'activated';

-- One row per download. States:
--   queued, running          live: at most one per package
--   succeeded, failed        ended by itself
--   cancelled                ended because somebody asked (`cancel_requested`)
--   interrupted              the service stopped or died; followed by a new attempt, at most three times in a row
-- `interruptions` counts the interrupted attempts right before this one.
CREATE TABLE package_attempts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    package_id INTEGER NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    number INTEGER NOT NULL CHECK (number > 0),
    status TEXT NOT NULL
        CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'interrupted')),
    failure TEXT,
    failure_detail TEXT,
    exit_code INTEGER,
    log_bytes INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    lease_until TEXT,
    queued_by INTEGER REFERENCES users (id) ON DELETE SET NULL,
    queued_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT,
    UNIQUE (package_id, number)
) STRICT;
CREATE UNIQUE INDEX package_attempts_one_live ON package_attempts (package_id) WHERE status IN ('queued', 'running');
CREATE INDEX package_attempts_live ON package_attempts (status, id) WHERE status IN ('queued', 'running');
CREATE INDEX package_attempts_queued_by ON package_attempts (queued_by);

-- One row per switch of a profile. States:
--   switching  the row is there, the profile may or may not have moved; settled at the next start
--   done       the profile was read back and pointed at the version
--   undone     it did not happen
-- The rows of a name that are `done`, of kind `activate` and not `popped` form its stack: rollback pops.
CREATE TABLE package_activations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('activate', 'rollback')),
    status TEXT NOT NULL CHECK (status IN ('switching', 'done', 'undone')),
    from_package_id INTEGER REFERENCES packages (id) ON DELETE SET NULL,
    from_version TEXT,
    to_package_id INTEGER REFERENCES packages (id) ON DELETE SET NULL,
    to_version TEXT NOT NULL,
    store_path TEXT NOT NULL,
    generation INTEGER,
    popped INTEGER NOT NULL DEFAULT 0 CHECK (popped IN (0, 1)),
    actor_id INTEGER REFERENCES users (id) ON DELETE SET NULL,
    actor_name TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT
) STRICT;
CREATE INDEX package_activations_name ON package_activations (name, id);
CREATE UNIQUE INDEX package_activations_one_switching ON package_activations (name) WHERE status = 'switching';
CREATE INDEX package_activations_from ON package_activations (from_package_id);
CREATE INDEX package_activations_to ON package_activations (to_package_id);
CREATE INDEX package_activations_actor ON package_activations (actor_id);
