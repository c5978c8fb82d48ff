-- name: access_version
SELECT version FROM access_version;

-- name: live_keys
SELECT digest, id, name, shown, scopes, created_at, created_by, expires_at, revoked_at, last_used_at, last_used_from
FROM access_keys
WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: all_keys
SELECT id, name, shown, scopes, created_at, created_by, expires_at, revoked_at, last_used_at, last_used_from
FROM access_keys
ORDER BY created_at DESC, id DESC;

-- name: add_key!
WITH raised AS (UPDATE access_version SET version = version + 1)
INSERT INTO access_keys (id, name, shown, digest, scopes, created_at, created_by, expires_at)
VALUES (:id, :name, :shown, :digest, :scopes, :created_at, :created_by, :expires_at);

-- name: revoke_key
WITH raised AS (UPDATE access_version SET version = version + 1),
ended AS (DELETE FROM access_sessions WHERE key_id = :id)
UPDATE access_keys SET revoked_at = coalesce(revoked_at, :at) WHERE id = :id
RETURNING 1;

-- name: note_use!
UPDATE access_keys
SET last_used_at = greatest(last_used_at, used.at),
    last_used_from = CASE WHEN used.at > coalesce(last_used_at, '-infinity') THEN used.address ELSE last_used_from END
FROM unnest(:ids::text[], :times::timestamptz[], :addresses::text[]) AS used (id, at, address)
WHERE access_keys.id = used.id;

-- name: live_sessions
SELECT digest, id, subject, name, role, key_id, created_at, expires_at, address
FROM access_sessions
WHERE expires_at > now();

-- name: add_session!
WITH raised AS (UPDATE access_version SET version = version + 1),
ended AS (
    DELETE FROM access_sessions
    WHERE id IN (
        SELECT id FROM access_sessions WHERE subject = :subject
        ORDER BY created_at DESC, id DESC
        OFFSET :others
    )
)
INSERT INTO access_sessions (id, digest, subject, name, role, key_id, created_at, expires_at, address)
VALUES (:id, :digest, :subject, :name, :role, :key_id, :created_at, :expires_at, :address);

-- name: end_session
WITH raised AS (UPDATE access_version SET version = version + 1)
DELETE FROM access_sessions WHERE id = :id
RETURNING 1;

-- name: forget_sessions!
DELETE FROM access_sessions WHERE expires_at < :before;

-- name: add_entries!
INSERT INTO audit_log (at, actor, kind, address, request_id, action, status, count)
SELECT at, actor, kind, address, request_id, action, status, count
FROM json_to_recordset(:entries::json) AS e (
    at timestamptz, actor text, kind text, address text, request_id text, action text, status integer, count bigint
);

-- name: entries
SELECT at, actor, kind, address, request_id, action, status, count, id
FROM audit_log
WHERE (:before::bigint IS NULL OR id < :before)
    AND (:actor::text IS NULL OR actor = :actor)
    AND (:action::text IS NULL OR starts_with(action, :action))
    AND (:refused::boolean IS NULL OR (status >= 400) = :refused)
ORDER BY id DESC
LIMIT :limit;
