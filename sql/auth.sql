-- Sessions, their refresh tokens, and what slows the guessing of passwords down.

-- name: open :value
-- The id of the new session.
INSERT INTO sessions (user_id, epoch, nonce, ip, user_agent, created_at, last_used_at, expires_at)
VALUES (:user_id, :epoch, :nonce, :ip, :user_agent, :now, :now, :expires_at)
RETURNING id;

-- name: by_id :one
-- None when it has ended.
SELECT id, user_id, epoch, nonce, ip, user_agent, created_at, last_used_at, expires_at FROM sessions WHERE id = :id;

-- name: of_user :many
-- Those that still hold.
SELECT id, user_id, epoch, nonce, ip, user_agent, created_at, last_used_at, expires_at
FROM sessions
WHERE user_id = :user_id AND epoch = :epoch AND expires_at > :now AND id > :after
ORDER BY id
LIMIT :limit;

-- name: count_of_user :value
SELECT count(*) FROM sessions WHERE user_id = :user_id AND epoch = :epoch AND expires_at > :now;

-- name: touch :exec
UPDATE sessions SET last_used_at = :now, ip = :ip WHERE id = :id;

-- name: prolong :exec
UPDATE sessions SET last_used_at = :now, ip = :ip, user_agent = :user_agent, expires_at = :expires_at WHERE id = :id;

-- name: carry_over :exec
-- Into the account's new epoch: the session in which the password was changed goes on.
UPDATE sessions SET epoch = :epoch WHERE id = :id;

-- name: end :exec
DELETE FROM sessions WHERE id = :id AND user_id = :user_id;

-- name: end_all :exec
DELETE FROM sessions WHERE user_id = :user_id;

-- name: end_expired :exec
DELETE FROM sessions WHERE expires_at <= :now;

-- name: end_oldest :exec
-- All but the newest.
DELETE FROM sessions
WHERE user_id = :user_id
    AND id NOT IN (
        SELECT newest.id FROM sessions AS newest WHERE newest.user_id = :user_id ORDER BY newest.id DESC LIMIT :keep
    );

-- name: add_refresh_token :exec
INSERT INTO refresh_tokens (session_id, secret_sha256, created_at, expires_at)
VALUES (:session_id, :secret_sha256, :now, :expires_at);

-- name: refresh_token :one
-- None for one that nobody was ever given, or whose session has ended.
SELECT
    refresh_tokens.id, refresh_tokens.session_id, refresh_tokens.expires_at, refresh_tokens.used_at,
    sessions.user_id, sessions.epoch, sessions.nonce
FROM refresh_tokens JOIN sessions ON sessions.id = refresh_tokens.session_id
WHERE refresh_tokens.secret_sha256 = :secret_sha256;

-- name: use_refresh_token :exec
-- No row: it was used before.
UPDATE refresh_tokens SET used_at = :now WHERE id = :id AND used_at IS NULL;

-- name: forget_refresh_tokens :exec
-- Those of a session that nobody could use any more.
DELETE FROM refresh_tokens WHERE session_id = :session_id AND expires_at <= :now;

-- name: fail :exec
INSERT INTO sign_in_failures (subject, source, at) VALUES (:subject, :source, :now);

-- name: failures :many
-- The latest; none that are still to come, after a clock was set back.
SELECT at FROM sign_in_failures WHERE subject = :subject AND at <= :now ORDER BY at DESC, id DESC LIMIT :limit;

-- name: failures_from :many
-- The latest from one place.
SELECT at FROM sign_in_failures
WHERE subject = :subject AND source = :source AND at <= :now
ORDER BY at DESC, id DESC
LIMIT :limit;

-- name: forgive :exec
DELETE FROM sign_in_failures WHERE subject = :subject AND source = :source;

-- name: forget_failures :exec
DELETE FROM sign_in_failures WHERE at < :before;

-- name: note_source :exec
INSERT INTO sign_in_sources (user_id, source, at) VALUES (:user_id, :source, :now)
ON CONFLICT (user_id, source) DO UPDATE SET at = excluded.at;

-- name: forget_sources :exec
DELETE FROM sign_in_sources WHERE user_id = :user_id AND at < :before;

-- name: is_known_source :value
SELECT count(*) FROM sign_in_sources WHERE user_id = :user_id AND source = :source AND at >= :since;

-- name: ask_reset :exec
INSERT INTO password_reset_requests (email_key, ip, asked_at, due_at) VALUES (:email_key, :ip, :now, :now);

-- name: waiting_resets :value
SELECT count(*) FROM password_reset_requests;

-- name: due_reset :one
-- None when nothing is due.
SELECT id, email_key, ip, tries, asked_at
FROM password_reset_requests
WHERE due_at <= :now
ORDER BY due_at, id
LIMIT 1;

-- name: put_off_reset :exec
UPDATE password_reset_requests SET tries = tries + 1, due_at = :due_at WHERE id = :id;

-- name: settle_reset :exec
DELETE FROM password_reset_requests WHERE id = :id;

-- name: add_reset :value
-- The id of the code.
INSERT INTO password_resets (request_id, user_id, epoch, email_key, code_sha256, created_at, expires_at)
VALUES (:request_id, :user_id, :epoch, :email_key, :code_sha256, :now, :expires_at)
RETURNING id;

-- name: reset_by_code :one
-- None for a code that nobody was ever given, that was used or has expired, or whose account has changed since.
SELECT password_resets.id, password_resets.user_id, password_resets.created_at, password_resets.expires_at
FROM password_resets JOIN users
    ON users.id = password_resets.user_id AND users.session_epoch = password_resets.epoch
    AND users.email_key = password_resets.email_key AND users.status = 'active'
WHERE password_resets.code_sha256 = :code_sha256 AND password_resets.expires_at > :now;

-- name: live_resets :many
-- Those that may still be used.
-- lint: unbounded because an account has at most five, and half an hour later none
SELECT password_resets.id, password_resets.user_id, password_resets.created_at, password_resets.expires_at
FROM password_resets JOIN users
    ON users.id = password_resets.user_id AND users.session_epoch = password_resets.epoch
    AND users.email_key = password_resets.email_key AND users.status = 'active'
WHERE password_resets.expires_at > :now
ORDER BY password_resets.id;

-- name: latest_resets :many
-- Those of an account, the newest first.
SELECT id, user_id, created_at, expires_at
FROM password_resets
WHERE user_id = :user_id AND expires_at > :now
ORDER BY id DESC
LIMIT :limit;

-- name: forget_reset :exec
DELETE FROM password_resets WHERE id = :id;

-- name: forget_reset_of_request :exec
-- What was made for a request and perhaps never mailed, because the service ended.
DELETE FROM password_resets WHERE request_id = :request_id;

-- name: forget_resets :exec
DELETE FROM password_resets WHERE user_id = :user_id;

-- name: forget_expired_resets :exec
DELETE FROM password_resets WHERE expires_at <= :now;

-- name: forgive_everywhere :exec
DELETE FROM sign_in_failures WHERE subject = :subject;
