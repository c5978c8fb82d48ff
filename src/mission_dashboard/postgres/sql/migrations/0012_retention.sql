-- What is deleted after some days, and what stays true of it.

-- One row: what retention did, and how far what is left reaches.
CREATE TABLE mission_retention (
    only_row    boolean PRIMARY KEY DEFAULT true,
    -- Every event of this transaction and of later ones is there; of earlier ones some may be gone.
    events_from bigint NOT NULL DEFAULT 0,
    -- A finished mission created before spans_until and unchanged since spans_at may have lost spans.
    spans_until timestamptz,
    spans_at    timestamptz,
    -- The number of the newest row of mission_removals.
    removals    bigint NOT NULL DEFAULT 0,
    seen_at     timestamptz,
    hold_until  timestamptz,
    began_at    timestamptz,
    ended_at    timestamptz,
    missions    bigint NOT NULL DEFAULT 0,
    events      bigint NOT NULL DEFAULT 0,
    logs        bigint NOT NULL DEFAULT 0,
    spans       bigint NOT NULL DEFAULT 0,
    CONSTRAINT mission_retention_has_one_row CHECK (only_row)
);
INSERT INTO mission_retention DEFAULT VALUES;

-- Which transactions had ended by when: rows are as old as the server saw them, whatever time their sender claims.
CREATE TABLE mission_retention_marks (
    at     timestamptz PRIMARY KEY,
    before bigint NOT NULL
);

-- What was removed lately, for the memory of all server processes. Numbers have no gaps.
CREATE TABLE mission_removals (
    number      bigint PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT now(),
    mission_ids text[] NOT NULL,
    facets      jsonb NOT NULL
);
CREATE INDEX mission_removals_by_age ON mission_removals (at);

-- What the removed missions add to the totals for ever.
CREATE TABLE mission_removed (
    status   text PRIMARY KEY,
    missions bigint NOT NULL,
    tokens   numeric NOT NULL,
    cost     numeric NOT NULL,
    duration double precision NOT NULL,
    ran      bigint NOT NULL
);

CREATE TABLE mission_removed_spend (
    day           date NOT NULL,
    model         text NOT NULL,
    input         numeric NOT NULL,
    cached        numeric NOT NULL,
    output        numeric NOT NULL,
    reasoning     numeric NOT NULL,
    unsplit       numeric NOT NULL,
    unpriced      numeric NOT NULL,
    cost          numeric NOT NULL,
    cost_reported numeric NOT NULL,
    cost_computed numeric NOT NULL,
    PRIMARY KEY (day, model)
);

-- What the removed missions below a kept one used, so that the sums of its tree stay true.
CREATE TABLE mission_remains (
    mission_id    text COLLATE "C" PRIMARY KEY,
    missions      bigint NOT NULL,
    tokens        numeric NOT NULL,
    input_tokens  numeric NOT NULL,
    output_tokens numeric NOT NULL,
    cost          numeric NOT NULL
);

-- Serves finding what finished long ago, by status. The columns are in other indexes too, so progress stays heap-only.
CREATE INDEX missions_by_end ON missions (status, completed_at, id) WHERE completed_at IS NOT NULL;
-- The same for older rows that tell no end.
CREATE INDEX missions_without_end ON missions (id)
    WHERE completed_at IS NULL AND status IN ('completed', 'failed', 'cancelled');
-- Serve deleting what is old.
CREATE INDEX mission_logs_by_transaction ON mission_logs (committed_in);
CREATE INDEX mission_spans_by_transaction ON mission_spans (committed_in);

-- What one mission adds to the spend of its day; the same rules as in spend.py, which a test holds together.
CREATE FUNCTION mission_dashboard_spend_parts(
    its_usage jsonb, its_model text, its_input bigint, its_output bigint, its_tokens bigint,
    its_cost double precision, its_reported double precision, its_computed double precision
) RETURNS TABLE (
    model text, input numeric, cached numeric, output numeric, reasoning numeric, unsplit numeric, unpriced numeric,
    cost numeric, cost_reported numeric, cost_computed numeric
) LANGUAGE sql IMMUTABLE AS $$
    WITH known AS (
        SELECT
            its_computed::text::numeric AS computed,
            CASE WHEN its_computed IS NULL THEN coalesce(its_reported, its_cost) ELSE its_reported
                END::text::numeric AS reported,
            coalesce(its_input + its_output = its_tokens, false) AS is_split
        WHERE its_usage IS NOT NULL OR its_tokens > 0 OR its_cost IS NOT NULL
    ),
    parts AS (
        SELECT
            used.key AS model, (used.value ->> 'input_tokens')::numeric AS input,
            (used.value ->> 'cached_tokens')::numeric AS cached, (used.value ->> 'output_tokens')::numeric AS output,
            (used.value ->> 'reasoning_tokens')::numeric AS reasoning, 0 AS unsplit,
            (used.value ->> 'cost')::numeric AS computed, reported
        FROM known
        CROSS JOIN LATERAL jsonb_each(its_usage) AS used (key, value)
        UNION ALL
        SELECT
            coalesce(its_model, ''),
            CASE WHEN is_split THEN its_input ELSE 0 END, 0, CASE WHEN is_split THEN its_output ELSE 0 END, 0,
            CASE WHEN is_split THEN 0 ELSE coalesce(its_tokens, 0) END, computed, reported
        FROM known
        WHERE its_usage IS NULL
    )
    SELECT
        model, input, cached, output, reasoning, unsplit,
        CASE WHEN computed IS NULL AND reported IS NULL THEN input + output + unsplit ELSE 0 END,
        CASE WHEN reported IS NULL THEN coalesce(computed, 0) ELSE 0 END,
        0,
        coalesce(computed, 0)
    FROM parts
    UNION ALL
    SELECT
        CASE
            WHEN its_usage IS NULL THEN coalesce(its_model, '')
            WHEN (SELECT count(*) FROM jsonb_object_keys(its_usage)) = 1
                THEN (SELECT max(name) FROM jsonb_object_keys(its_usage) AS keys (name))
            ELSE '' END,
        0, 0, 0, 0, 0, 0, reported, reported, 0
    FROM known
    WHERE reported IS NOT NULL
$$;

-- Both count anew from the missions there are and from what was kept of the removed ones.
CREATE OR REPLACE FUNCTION mission_dashboard_recount_missions() RETURNS void LANGUAGE plpgsql AS $$
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
    SELECT 0, sum(tokens), sum(cost), sum(duration), sum(ran)
    FROM (
        SELECT coalesce(sum(tokens_used), 0) AS tokens, coalesce(sum(cost_estimate::text::numeric), 0) AS cost,
            coalesce(sum(duration) FILTER (WHERE status IN ('completed', 'failed', 'cancelled')), 0) AS duration,
            count(duration) FILTER (WHERE status IN ('completed', 'failed', 'cancelled')) AS ran
        FROM missions
        UNION ALL
        SELECT tokens, cost, duration, ran
        FROM mission_removed
    ) AS counted;
END $$;

CREATE OR REPLACE FUNCTION mission_dashboard_recount_spend() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM mission_spend;
    INSERT INTO mission_spend
    SELECT
        day, 0, model, sum(input), sum(cached), sum(output), sum(reasoning), sum(unsplit), sum(unpriced), sum(cost),
        sum(cost_reported), sum(cost_computed)
    FROM (
        SELECT (coalesce(m.started_at, m.created_at) AT TIME ZONE 'UTC')::date AS day, part.*
        FROM missions AS m
        CROSS JOIN LATERAL mission_dashboard_spend_parts(
            m.usage, m.model_used, m.input_tokens, m.output_tokens, m.tokens_used, m.cost_estimate, m.cost_reported,
            m.cost_computed
        ) AS part
        UNION ALL
        SELECT
            day, model, input, cached, output, reasoning, unsplit, unpriced, cost, cost_reported, cost_computed
        FROM mission_removed_spend
    ) AS counted
    GROUP BY day, model;
END $$;
