-- Teams and who is in them. A team's owner is `owner_id` while that account is there, then the oldest member; a team
-- without members is none.

-- name: page :many
-- Those that a caller is in, and those whose owner is in the caller's group, or all.
SELECT
    teams.id, teams.name, teams.description, owners.id AS owner_id, owners.username AS owner_name,
    owners.group_id AS owner_group_id,
    (SELECT count(*) FROM team_members WHERE team_members.team_id = teams.id) AS member_count,
    teams.revision, teams.created_at, teams.updated_at
FROM teams JOIN users AS owners ON owners.id = coalesce(
    teams.owner_id,
    (
        SELECT team_members.user_id FROM team_members WHERE team_members.team_id = teams.id
        ORDER BY team_members.id LIMIT 1
    )
)
WHERE teams.id > :after
    AND (
        :everyone = 1 OR owners.group_id = CAST(:own_group_id AS BIGINT)
        OR EXISTS (
            SELECT 1 FROM team_members
            WHERE team_members.team_id = teams.id AND team_members.user_id = :self_id
        )
    )
ORDER BY teams.id
LIMIT :limit;

-- name: count :value
-- As `page`, on all pages together.
SELECT count(*)
FROM teams JOIN users AS owners ON owners.id = coalesce(
    teams.owner_id,
    (
        SELECT team_members.user_id FROM team_members WHERE team_members.team_id = teams.id
        ORDER BY team_members.id LIMIT 1
    )
)
WHERE :everyone = 1 OR owners.group_id = CAST(:own_group_id AS BIGINT)
    OR EXISTS (
        SELECT 1 FROM team_members WHERE team_members.team_id = teams.id AND team_members.user_id = :self_id
    );

-- name: by_id :one
-- None when there is none that the caller is in or reaches.
SELECT
    teams.id, teams.name, teams.description, owners.id AS owner_id, owners.username AS owner_name,
    owners.group_id AS owner_group_id,
    (SELECT count(*) FROM team_members WHERE team_members.team_id = teams.id) AS member_count,
    teams.revision, teams.created_at, teams.updated_at
FROM teams JOIN users AS owners ON owners.id = coalesce(
    teams.owner_id,
    (
        SELECT team_members.user_id FROM team_members WHERE team_members.team_id = teams.id
        ORDER BY team_members.id LIMIT 1
    )
)
WHERE teams.id = :id
    AND (
        :everyone = 1 OR owners.group_id = CAST(:own_group_id AS BIGINT)
        OR EXISTS (
            SELECT 1 FROM team_members
            WHERE team_members.team_id = teams.id AND team_members.user_id = :self_id
        )
    );

-- name: members :many
-- lint: unbounded because a team has at most 1,000 members
SELECT team_members.user_id, users.username, users.full_name, team_members.joined_at
FROM team_members JOIN users ON users.id = team_members.user_id
WHERE team_members.team_id = :id
ORDER BY team_members.id;

-- name: is_member :value
-- Whether an active account is in a team.
SELECT count(*)
FROM team_members JOIN users ON users.id = team_members.user_id
WHERE team_members.team_id = :id AND team_members.user_id = :user_id AND users.status = 'active';

-- name: add :value
-- The id of the new team.
INSERT INTO teams (name, description, owner_id, created_at, updated_at)
VALUES (:name, :description, :owner_id, :now, :now)
RETURNING id;

-- name: update :exec
UPDATE teams
SET
    name = :name, description = :description, owner_id = :owner_id, revision = revision + 1, updated_at = :now
WHERE id = :id;

-- name: changed :exec
-- Its members are others than they were.
UPDATE teams SET revision = revision + 1, updated_at = :now WHERE id = :id;

-- name: remove :exec
DELETE FROM teams WHERE id = :id;

-- name: remove_empty :exec
-- Those whose last member's account is gone.
DELETE FROM teams
WHERE owner_id IS NULL AND NOT EXISTS (SELECT 1 FROM team_members WHERE team_members.team_id = teams.id);

-- name: join :exec
-- No row: the account is in the team already.
INSERT INTO team_members (team_id, user_id, joined_at) VALUES (:id, :user_id, :now)
ON CONFLICT (team_id, user_id) DO NOTHING;

-- name: leave :exec
DELETE FROM team_members WHERE team_id = :id AND user_id = :user_id;
