-- Running totals, moved in the transaction that moves the missions, so that nothing is ever counted by scanning.
-- Each server process adds to rows of its own (its shard), or their group commits would wait for each other.

CREATE TABLE mission_facets (
    shard      smallint NOT NULL,
    status     text NOT NULL,
    priority   text NOT NULL,
    type       text NOT NULL,
    agent_type text NOT NULL,
    model_used text NOT NULL,
    missions   bigint NOT NULL,
    PRIMARY KEY (shard, status, priority, type, agent_type, model_used)
) WITH (fillfactor = 50);

CREATE TABLE mission_totals (
    shard    smallint PRIMARY KEY,
    tokens   numeric NOT NULL,
    cost     numeric NOT NULL,
    duration double precision NOT NULL,
    ran      bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE mission_minutes (
    minute    timestamptz NOT NULL,
    shard     smallint NOT NULL,
    created   bigint NOT NULL,
    started   bigint NOT NULL,
    completed bigint NOT NULL,
    failed    bigint NOT NULL,
    cancelled bigint NOT NULL,
    running   bigint NOT NULL,
    tokens    numeric NOT NULL,
    cost      numeric NOT NULL,
    PRIMARY KEY (minute, shard)
) WITH (fillfactor = 50);

-- Counts everything anew from the missions themselves: at the upgrade, and after writing to the tables by hand.
CREATE FUNCTION mission_dashboard_recount() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE missions IN SHARE MODE;
    DELETE FROM mission_facets;
    DELETE FROM mission_totals;
    INSERT INTO mission_facets
    SELECT 0, status, priority, coalesce(mission_type, ''), coalesce(agent_type, ''), coalesce(model_used, ''),
        count(*)
    FROM missions
    GROUP BY 2, 3, 4, 5, 6;
    INSERT INTO mission_totals
    SELECT 0, coalesce(sum(tokens_used), 0), coalesce(sum(cost_estimate::text::numeric), 0),
        coalesce(sum(duration) FILTER (WHERE status IN ('completed', 'failed', 'cancelled')), 0),
        count(duration) FILTER (WHERE status IN ('completed', 'failed', 'cancelled'))
    FROM missions;
END $$;

SELECT mission_dashboard_recount();

-- Ends a batch whose missions another process changed first; the tracker reloads them and tries again.
CREATE FUNCTION mission_dashboard_require_all(written bigint, wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF written <> wanted THEN
        RAISE EXCEPTION 'only % of % missions were at the expected version', written, wanted
            USING ERRCODE = 'serialization_failure';
    END IF;
END $$;
