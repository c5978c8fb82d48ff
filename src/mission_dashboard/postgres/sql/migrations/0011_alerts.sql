-- Rules that watch missions, what they found, to whom that is told, and what is not to be told.

CREATE TABLE alert_channels (
    id         text PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    kind       text NOT NULL,
    target     text NOT NULL,
    secret     text,
    is_on      boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    CONSTRAINT alert_channels_kind_known CHECK (kind IN ('webhook', 'slack', 'email'))
);

CREATE TABLE alert_rules (
    id         text PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    kind       text NOT NULL,
    types      text[],
    agents     text[],
    models     text[],
    priorities text[],
    threshold  double precision,
    window_s   double precision NOT NULL,
    cooldown_s double precision NOT NULL,
    severity   text NOT NULL,
    channels   text[] NOT NULL,
    is_on      boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    CONSTRAINT alert_rules_severity_known CHECK (severity IN ('info', 'warning', 'critical'))
);

CREATE TABLE alert_firings (
    id              text PRIMARY KEY,
    rule_id         text NOT NULL,
    rule_name       text NOT NULL,
    kind            text NOT NULL,
    severity        text NOT NULL,
    subject         text NOT NULL,
    mission_id      text,
    summary         text NOT NULL,
    value           double precision,
    state           text NOT NULL,
    is_quiet        boolean NOT NULL,
    fired_at        timestamptz NOT NULL,
    resolved_at     timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text,
    CONSTRAINT alert_firings_state_known CHECK (state IN ('firing', 'noted', 'resolved'))
);

-- What fires already does not fire again.
CREATE UNIQUE INDEX alert_firings_open ON alert_firings (rule_id, subject) WHERE state = 'firing';
CREATE INDEX alert_firings_by_time ON alert_firings (fired_at DESC, id DESC);
CREATE INDEX alert_firings_by_rule ON alert_firings (rule_id, fired_at DESC) WHERE NOT is_quiet;

CREATE TABLE alert_deliveries (
    id         text PRIMARY KEY,
    firing_id  text NOT NULL,
    channel_id text NOT NULL,
    what       text NOT NULL,
    state      text NOT NULL DEFAULT 'waiting',
    tries      integer NOT NULL DEFAULT 0,
    next_at    timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    sent_at    timestamptz,
    problem    text,
    CONSTRAINT alert_deliveries_state_known CHECK (state IN ('waiting', 'sent', 'dead')),
    CONSTRAINT alert_deliveries_what_known CHECK (what IN ('fired', 'resolved', 'test'))
);

CREATE INDEX alert_deliveries_due ON alert_deliveries (next_at) WHERE state = 'waiting';
CREATE INDEX alert_deliveries_by_time ON alert_deliveries (created_at DESC, id DESC);

CREATE TABLE alert_silences (
    id         text PRIMARY KEY,
    rule_id    text,
    mission_id text,
    reason     text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL
);

-- Up to which transaction the events were looked at. One row, locked by whoever looks.
CREATE TABLE alert_place (
    transaction xid8 NOT NULL
);
INSERT INTO alert_place VALUES (pg_snapshot_xmin(pg_current_snapshot()));

-- What a dashboard watches from the start; nobody is told until a channel is given to a rule.
INSERT INTO alert_rules (id, name, kind, threshold, window_s, cooldown_s, severity, channels, created_at)
VALUES
    ('default-failed', 'Missions fail', 'failed', NULL, 3600, 300, 'warning', '{}', now()),
    ('default-stalled', 'Missions stall', 'stalled', NULL, 3600, 0, 'warning', '{}', now()),
    ('default-budget', 'Budgets are used up', 'over_budget', NULL, 3600, 0, 'warning', '{}', now()),
    ('default-cancel', 'Cancels are not confirmed', 'cancel_unconfirmed', NULL, 3600, 0, 'critical', '{}', now()),
    ('default-question', 'Missions ask', 'question', NULL, 3600, 0, 'info', '{}', now()),
    ('default-errors', 'Half of all missions fail', 'error_rate', 50, 3600, 1800, 'critical', '{}', now());
