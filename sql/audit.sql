-- Writes the trail; nothing here changes or removes what was written.

-- name: add :exec
INSERT INTO audit (
    at, kind, request_id, actor_id, actor_name, token_id, session_id, ip, method, path, route, status, authorized,
    reason, action, target
) VALUES (
    :at, :kind, :request_id, :actor_id, :actor_name, :token_id, :session_id, :ip, :method, :path, :route, :status,
    :authorized, :reason, :action, :target
);
