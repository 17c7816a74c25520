-- Accounts, and the one claim that makes the appliance somebody's.

-- name: claim :value
-- None when the appliance is claimed already.
INSERT INTO claims (slot, claimed_at) VALUES (1, :now)
ON CONFLICT (slot) DO NOTHING
RETURNING id;

-- name: is_claimed :value
SELECT count(*) FROM claims;

-- name: add :one
-- None when the username or the e-mail is taken.
INSERT INTO users (
    username, username_key, email, email_key, full_name, status, role, group_id, password_hash, phone, avatar,
    department, position, bio, search_text, created_at, updated_at
) VALUES (
    :username, :username_key, :email, :email_key, :full_name, :status, :role, :group_id, :password_hash, :phone,
    :avatar, :department, :position, :bio, :search_text, :now, :now
)
ON CONFLICT DO NOTHING
RETURNING
    id, username, email, full_name, status, role, group_id, phone, avatar, department, position, bio, revision,
    created_at, updated_at, last_login_at;

-- name: account :one
-- None when there is none.
SELECT id, username, role, status, group_id, session_epoch FROM users WHERE id = :id;

-- name: first_super_admin :one
-- None before the claim.
SELECT id, username, role, status, group_id, session_epoch
FROM users
WHERE role = 'super_admin' AND status = 'active'
ORDER BY id
LIMIT 1;

-- name: credentials :one
-- The account that an identifier names, a casefolded username or e-mail; no username holds an @. None: no account.
SELECT id, username, email, status, password_hash, session_epoch FROM users WHERE username_key = :key OR email_key = :key;

-- name: credentials_by_id :one
-- None when there is none.
SELECT id, username, email, status, password_hash, session_epoch FROM users WHERE id = :id;

-- name: grants_of :many
-- What the roles of an account grant, the first role first.
-- lint: unbounded because an account has at most 20 roles
SELECT roles.name, roles.grants
FROM users JOIN roles ON roles.name = users.role OR EXISTS (
    SELECT 1 FROM user_roles WHERE user_roles.user_id = users.id AND user_roles.role_id = roles.id
)
WHERE users.id = :id
ORDER BY CASE WHEN roles.name = users.role THEN 0 ELSE 1 END, roles.id;

-- name: role_grants :one
-- What a role grants; None when there is none of this name.
SELECT name, grants FROM roles WHERE name = :name;

-- name: further_roles :many
-- The roles beside the first one of these accounts.
-- lint: unbounded because the ids are those of one page
SELECT user_roles.user_id, roles.name
FROM user_roles JOIN roles ON roles.id = user_roles.role_id
WHERE user_roles.user_id IN (SELECT CAST(value AS BIGINT) FROM json_each(:ids))
ORDER BY user_roles.user_id, roles.id;

-- name: group_of :one
-- None when there is none.
SELECT id, name, uniform_number, max_allowed_streams FROM groups WHERE id = :id;

-- name: by_id :one
-- None when there is none within reach.
SELECT
    id, username, email, full_name, status, role, group_id, phone, avatar, department, position, bio, revision,
    created_at, updated_at, last_login_at
FROM users
WHERE id = :id AND (:everyone = 1 OR id = :self_id OR group_id = CAST(:own_group_id AS BIGINT));

-- name: page_by_created :many
SELECT
    id, username, email, full_name, status, role, group_id, phone, avatar, department, position, bio, revision,
    created_at, updated_at, last_login_at
FROM users
WHERE (:everyone = 1 OR id = :self_id OR group_id = CAST(:own_group_id AS BIGINT))
    AND (CAST(:pattern AS TEXT) IS NULL OR lower(search_text) LIKE lower(:pattern) ESCAPE '\')
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:group_id AS BIGINT) IS NULL OR group_id = :group_id)
    AND (
        CAST(:role AS TEXT) IS NULL OR role = :role
        OR EXISTS (
            SELECT 1 FROM user_roles JOIN roles ON roles.id = user_roles.role_id
            WHERE user_roles.user_id = users.id AND roles.name = :role
        )
    )
    AND id > :after_id
ORDER BY id
LIMIT :limit;

-- name: page_by_created_down :many
SELECT
    id, username, email, full_name, status, role, group_id, phone, avatar, department, position, bio, revision,
    created_at, updated_at, last_login_at
FROM users
WHERE (:everyone = 1 OR id = :self_id OR group_id = CAST(:own_group_id AS BIGINT))
    AND (CAST(:pattern AS TEXT) IS NULL OR lower(search_text) LIKE lower(:pattern) ESCAPE '\')
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:group_id AS BIGINT) IS NULL OR group_id = :group_id)
    AND (
        CAST(:role AS TEXT) IS NULL OR role = :role
        OR EXISTS (
            SELECT 1 FROM user_roles JOIN roles ON roles.id = user_roles.role_id
            WHERE user_roles.user_id = users.id AND roles.name = :role
        )
    )
    AND id < :after_id
ORDER BY id DESC
LIMIT :limit;

-- name: page_by_username :many
SELECT
    id, username, email, full_name, status, role, group_id, phone, avatar, department, position, bio, revision,
    created_at, updated_at, last_login_at
FROM users
WHERE (:everyone = 1 OR id = :self_id OR group_id = CAST(:own_group_id AS BIGINT))
    AND (CAST(:pattern AS TEXT) IS NULL OR lower(search_text) LIKE lower(:pattern) ESCAPE '\')
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:group_id AS BIGINT) IS NULL OR group_id = :group_id)
    AND (
        CAST(:role AS TEXT) IS NULL OR role = :role
        OR EXISTS (
            SELECT 1 FROM user_roles JOIN roles ON roles.id = user_roles.role_id
            WHERE user_roles.user_id = users.id AND roles.name = :role
        )
    )
    AND username_key > :after_text
ORDER BY username_key
LIMIT :limit;

-- name: page_by_username_down :many
SELECT
    id, username, email, full_name, status, role, group_id, phone, avatar, department, position, bio, revision,
    created_at, updated_at, last_login_at
FROM users
WHERE (:everyone = 1 OR id = :self_id OR group_id = CAST(:own_group_id AS BIGINT))
    AND (CAST(:pattern AS TEXT) IS NULL OR lower(search_text) LIKE lower(:pattern) ESCAPE '\')
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:group_id AS BIGINT) IS NULL OR group_id = :group_id)
    AND (
        CAST(:role AS TEXT) IS NULL OR role = :role
        OR EXISTS (
            SELECT 1 FROM user_roles JOIN roles ON roles.id = user_roles.role_id
            WHERE user_roles.user_id = users.id AND roles.name = :role
        )
    )
    AND username_key < :after_text
ORDER BY username_key DESC
LIMIT :limit;

-- name: page_by_name :many
SELECT
    id, username, email, full_name, status, role, group_id, phone, avatar, department, position, bio, revision,
    created_at, updated_at, last_login_at
FROM users
WHERE (:everyone = 1 OR id = :self_id OR group_id = CAST(:own_group_id AS BIGINT))
    AND (CAST(:pattern AS TEXT) IS NULL OR lower(search_text) LIKE lower(:pattern) ESCAPE '\')
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:group_id AS BIGINT) IS NULL OR group_id = :group_id)
    AND (
        CAST(:role AS TEXT) IS NULL OR role = :role
        OR EXISTS (
            SELECT 1 FROM user_roles JOIN roles ON roles.id = user_roles.role_id
            WHERE user_roles.user_id = users.id AND roles.name = :role
        )
    )
    AND (full_name > :after_text OR (full_name = :after_text AND id > :after_id))
ORDER BY full_name, id
LIMIT :limit;

-- name: page_by_name_down :many
SELECT
    id, username, email, full_name, status, role, group_id, phone, avatar, department, position, bio, revision,
    created_at, updated_at, last_login_at
FROM users
WHERE (:everyone = 1 OR id = :self_id OR group_id = CAST(:own_group_id AS BIGINT))
    AND (CAST(:pattern AS TEXT) IS NULL OR lower(search_text) LIKE lower(:pattern) ESCAPE '\')
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:group_id AS BIGINT) IS NULL OR group_id = :group_id)
    AND (
        CAST(:role AS TEXT) IS NULL OR role = :role
        OR EXISTS (
            SELECT 1 FROM user_roles JOIN roles ON roles.id = user_roles.role_id
            WHERE user_roles.user_id = users.id AND roles.name = :role
        )
    )
    AND (full_name < :after_text OR (full_name = :after_text AND id < :after_id))
ORDER BY full_name DESC, id DESC
LIMIT :limit;

-- name: count_matching :value
SELECT count(*)
FROM users
WHERE (:everyone = 1 OR id = :self_id OR group_id = CAST(:own_group_id AS BIGINT))
    AND (CAST(:pattern AS TEXT) IS NULL OR lower(search_text) LIKE lower(:pattern) ESCAPE '\')
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:group_id AS BIGINT) IS NULL OR group_id = :group_id)
    AND (
        CAST(:role AS TEXT) IS NULL OR role = :role
        OR EXISTS (
            SELECT 1 FROM user_roles JOIN roles ON roles.id = user_roles.role_id
            WHERE user_roles.user_id = users.id AND roles.name = :role
        )
    );

-- name: taken_by_another :value
-- 1 when another account has this username, 2 when it has this e-mail; None when neither is taken.
SELECT CASE WHEN username_key = :username_key THEN 1 ELSE 2 END
FROM users
WHERE id <> :id AND (username_key = :username_key OR email_key = CAST(:email_key AS TEXT))
ORDER BY id
LIMIT 1;

-- name: update :exec
UPDATE users
SET
    username = :username, username_key = :username_key, email = :email, email_key = :email_key,
    full_name = :full_name, phone = :phone, avatar = :avatar, department = :department, position = :position,
    bio = :bio, search_text = :search_text, revision = revision + 1, updated_at = :now
WHERE id = :id;

-- name: set_password :value
-- The new epoch; None when the password is another than the one that was seen.
UPDATE users
SET
    password_hash = :password_hash, session_epoch = session_epoch + 1, revision = revision + 1, updated_at = :now
WHERE id = :id AND password_hash IS NOT DISTINCT FROM CAST(:seen_hash AS TEXT)
RETURNING session_epoch;

-- name: rehash :exec
-- The same password under stronger parameters: nothing changes for anybody.
UPDATE users SET password_hash = :password_hash WHERE id = :id AND password_hash = :seen_hash;

-- name: signed_in :exec
UPDATE users SET last_login_at = :now WHERE id = :id;

-- name: set_status :exec
-- No row: it was the last active super admin.
UPDATE users
SET status = :status, session_epoch = session_epoch + 1, revision = revision + 1, updated_at = :now
WHERE id = :id AND (
    :status = 'active' OR role <> 'super_admin'
    OR EXISTS (
        SELECT 1 FROM users AS others
        WHERE others.role = 'super_admin' AND others.status = 'active' AND others.id <> :id
    )
);

-- name: set_role :exec
-- No row: it was the last active super admin.
UPDATE users
SET role = :role, session_epoch = session_epoch + 1, revision = revision + 1, updated_at = :now
WHERE id = :id AND (
    :role = 'super_admin' OR role <> 'super_admin'
    OR EXISTS (
        SELECT 1 FROM users AS others
        WHERE others.role = 'super_admin' AND others.status = 'active' AND others.id <> :id
    )
);

-- name: set_group :exec
UPDATE users
SET group_id = :group_id, session_epoch = session_epoch + 1, revision = revision + 1, updated_at = :now
WHERE id = :id;

-- name: leave_group :exec
UPDATE users
SET group_id = NULL, session_epoch = session_epoch + 1, revision = revision + 1, updated_at = :now
WHERE group_id = :group_id;

-- name: of_role_in_group :many
-- lint: unbounded because it is the admins of one group
SELECT id, username, role, status, group_id, session_epoch
FROM users
WHERE group_id = :group_id AND role = :role
ORDER BY id;

-- name: active_account :one
-- By id or by the casefolded username; None when there is no such active one.
SELECT id, username, role, status, group_id, session_epoch
FROM users
WHERE (id = CAST(:id AS BIGINT) OR username_key = CAST(:username_key AS TEXT)) AND status = 'active';

-- name: remove :exec
-- No row: it was the last active super admin.
DELETE FROM users
WHERE id = :id AND (
    role <> 'super_admin'
    OR EXISTS (
        SELECT 1 FROM users AS others
        WHERE others.role = 'super_admin' AND others.status = 'active' AND others.id <> :id
    )
);
