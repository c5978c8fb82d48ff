-- What people want of running missions, what missions ask of people, and what may be used in a day.

ALTER TABLE missions
    ADD COLUMN moved_at timestamptz,
    ADD COLUMN budget_state text,
    ADD COLUMN control text,
    ADD COLUMN receipt jsonb,
    ADD COLUMN question jsonb,
    ADD COLUMN stalled_reason text,
    ADD CONSTRAINT missions_control_known CHECK (control IN ('cancel_requested', 'pause_requested', 'paused')),
    ADD CONSTRAINT missions_budget_state_known CHECK (budget_state IN ('warning', 'exceeded'));

UPDATE missions
SET moved_at = coalesce(heartbeat_at, started_at)
WHERE status = 'running';

-- Serves the look at cancels that nobody acknowledged.
CREATE INDEX missions_by_unconfirmed_cancel ON missions (id) WHERE control = 'cancel_requested';

-- Serves the missions that scripts speak of by a name of their own.
CREATE INDEX missions_by_ping_key ON missions ((metadata ->> 'ping_key'), created_at DESC)
    WHERE metadata ->> 'ping_key' IS NOT NULL;

CREATE TABLE mission_days (
    day        date NOT NULL,
    shard      smallint NOT NULL,
    agent_type text NOT NULL,
    tokens     numeric NOT NULL,
    cost       numeric NOT NULL,
    PRIMARY KEY (day, shard, agent_type)
) WITH (fillfactor = 50);

CREATE TABLE mission_day_budgets (
    name       text PRIMARY KEY,
    agent_type text,
    cost       double precision,
    tokens     bigint,
    CONSTRAINT mission_day_budgets_limit_something CHECK (cost IS NOT NULL OR tokens IS NOT NULL)
);
