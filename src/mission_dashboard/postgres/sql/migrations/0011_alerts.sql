-- Rules, what they found, and what is to be delivered because of it.

CREATE TABLE alert_rules (
    id              uuid PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    signal          text NOT NULL,
    filter          jsonb NOT NULL DEFAULT '{}',
    threshold       double precision,
    window_s        integer NOT NULL,
    cooldown_s      integer NOT NULL,
    min_count       integer NOT NULL,
    severity        text NOT NULL,
    resolves        boolean NOT NULL,
    notify_resolved boolean NOT NULL,
    enabled         boolean NOT NULL,
    -- Which channels are told; null: all of them.
    channels        uuid[],
    created_at      timestamptz NOT NULL DEFAULT now(),
    -- Events of earlier transactions are not the rule's: it was not there, or off.
    active_from     bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    CONSTRAINT alert_rules_severity_known CHECK (severity IN ('info', 'warning', 'critical'))
);

CREATE TABLE alert_channels (
    id         uuid PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    kind       text NOT NULL,
    -- With its secrets, which the API never returns.
    config     jsonb NOT NULL,
    enabled    boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT alert_channels_kind_known CHECK (kind IN ('webhook', 'slack', 'email', 'browser'))
);

CREATE TABLE alert_silences (
    id         uuid PRIMARY KEY,
    rule_id    uuid REFERENCES alert_rules ON DELETE CASCADE,
    mission_id text,
    filter     jsonb NOT NULL DEFAULT '{}',
    reason     text,
    created_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    ends_at    timestamptz NOT NULL
);
CREATE INDEX alert_silences_by_end ON alert_silences (ends_at);

CREATE TABLE alert_firings (
    id              uuid PRIMARY KEY,
    rule_id         uuid REFERENCES alert_rules ON DELETE SET NULL,
    rule_name       text NOT NULL,
    signal          text NOT NULL,
    severity        text NOT NULL,
    summary         text NOT NULL,
    mission_id      text,
    -- Missions of which it is still true; empty for measures.
    missions        text[] NOT NULL DEFAULT '{}',
    value           double precision,
    threshold       double precision,
    count           integer NOT NULL DEFAULT 1,
    fired_at        timestamptz NOT NULL,
    last_at         timestamptz NOT NULL,
    resolved_at     timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text,
    -- The silences that held it back, while nobody was told.
    silenced_by     text[] NOT NULL DEFAULT '{}'
);
-- Serves the list, the evaluation and the count in the top bar.
CREATE INDEX alert_firings_open ON alert_firings (fired_at DESC, id DESC) WHERE resolved_at IS NULL;
CREATE INDEX alert_firings_by_time ON alert_firings (fired_at DESC, id DESC);
-- Serves the cooldown.
CREATE INDEX alert_firings_by_rule ON alert_firings (rule_id, fired_at DESC);

CREATE TABLE alert_deliveries (
    id           uuid PRIMARY KEY,
    firing_id    uuid NOT NULL REFERENCES alert_firings ON DELETE CASCADE,
    channel_id   uuid NOT NULL REFERENCES alert_channels ON DELETE CASCADE,
    kind         text NOT NULL,
    created_at   timestamptz NOT NULL,
    -- When it is tried next; while somebody tries it, when that lease ends.
    due_at       timestamptz NOT NULL,
    attempts     integer NOT NULL DEFAULT 0,
    delivered_at timestamptz,
    dead_at      timestamptz,
    last_error   text,
    CONSTRAINT alert_deliveries_kind_known CHECK (kind IN ('firing', 'resolved')),
    -- One notification of a firing for each channel.
    UNIQUE (firing_id, channel_id, kind)
);
-- Serves the delivery.
CREATE INDEX alert_deliveries_due ON alert_deliveries (due_at) WHERE delivered_at IS NULL AND dead_at IS NULL;
CREATE INDEX alert_deliveries_dead ON alert_deliveries (dead_at DESC) WHERE dead_at IS NOT NULL;

-- One row: up to which event the rules have seen everything.
CREATE TABLE alert_cursor (
    only_row      boolean PRIMARY KEY DEFAULT true,
    transaction   bigint NOT NULL,
    mission_id    text COLLATE "C" NOT NULL,
    version       bigint NOT NULL,
    measured_at   timestamptz,
    CONSTRAINT alert_cursor_has_one_row CHECK (only_row)
);
INSERT INTO alert_cursor (transaction, mission_id, version)
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, '', 0;
