-- The history of every mission, and what makes a retried create harmless.

-- The database's own name, part of every cursor: a cursor from another database is recognised by it.
CREATE TABLE mission_dashboard_database (
    name text NOT NULL
);
INSERT INTO mission_dashboard_database
SELECT substr(md5(random()::text || clock_timestamp()::text || pg_backend_pid()::text), 1, 8);

CREATE TABLE mission_events (
    mission_id   text COLLATE "C" NOT NULL,
    version      bigint NOT NULL,
    type         text NOT NULL,
    at           timestamptz NOT NULL,
    changes      jsonb NOT NULL,
    committed_in xid8 NOT NULL DEFAULT pg_current_xact_id(),
    -- Two writers can never both make the same step of one mission.
    PRIMARY KEY (mission_id, version)
);
-- Serves catching up: what changed since a transaction.
CREATE INDEX mission_events_by_transaction ON mission_events (committed_in);

CREATE TABLE idempotency_keys (
    key        text PRIMARY KEY,
    digest     text NOT NULL,
    mission_id text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
