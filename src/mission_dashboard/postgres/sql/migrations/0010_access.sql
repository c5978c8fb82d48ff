-- Keys of programs, sessions of people, and the record of what they changed and were refused.

CREATE TABLE access_keys (
    id             text PRIMARY KEY,
    name           text NOT NULL,
    shown          text NOT NULL,
    digest         bytea NOT NULL UNIQUE,
    scopes         text[] NOT NULL,
    created_at     timestamptz NOT NULL,
    created_by     text NOT NULL,
    expires_at     timestamptz,
    revoked_at     timestamptz,
    last_used_at   timestamptz,
    last_used_from text,
    CONSTRAINT access_keys_scopes_known CHECK (
        cardinality(scopes) > 0 AND scopes <@ ARRAY['report', 'read', 'operate', 'admin']
    )
);

CREATE TABLE access_sessions (
    id         text PRIMARY KEY,
    digest     bytea NOT NULL UNIQUE,
    subject    text NOT NULL,
    name       text NOT NULL,
    role       text,
    key_id     text,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    address    text NOT NULL,
    CONSTRAINT access_sessions_role_known CHECK (role IN ('viewer', 'operator', 'admin')),
    CONSTRAINT access_sessions_allowed_by_something CHECK (role IS NOT NULL OR key_id IS NOT NULL)
);

-- Raised with every change of the two, so that each process knows when to load them anew.
CREATE TABLE access_version (
    version bigint NOT NULL
);
INSERT INTO access_version VALUES (1);

CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    actor      text NOT NULL,
    kind       text NOT NULL,
    address    text NOT NULL,
    request_id text NOT NULL,
    action     text NOT NULL,
    status     integer NOT NULL,
    count      bigint NOT NULL
);

CREATE FUNCTION refuse_change_of_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;

CREATE TRIGGER audit_log_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_log();

-- Who asked for a change of a mission, and from where; null: this machine's own user, or the dashboard itself.
ALTER TABLE mission_events
    ADD COLUMN actor text,
    ADD COLUMN address text;
