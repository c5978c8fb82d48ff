-- What each model used, what was reported and what was computed, and how much of each model's spend fell on each day.

-- cost_estimate stays what counts. Older rows need no change: a cost there without a computed one had been reported.
ALTER TABLE missions
    ADD COLUMN usage jsonb,
    ADD COLUMN cost_reported double precision,
    ADD COLUMN cost_computed double precision,
    ADD COLUMN unpriced_models jsonb,
    ADD CONSTRAINT missions_usage_is_object CHECK (jsonb_typeof(usage) = 'object') NOT VALID,
    ADD CONSTRAINT missions_costs_are_finite CHECK (
        cost_reported >= 0 AND cost_reported < 'infinity' AND cost_computed >= 0 AND cost_computed < 'infinity'
    ) NOT VALID;

-- By the UTC day on which the mission started. A model of '' is none, or a cost reported for several models together.
CREATE TABLE mission_spend (
    day           date NOT NULL,
    shard         smallint NOT NULL,
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
    PRIMARY KEY (day, shard, model)
) WITH (fillfactor = 50);

-- Counts the spend anew from the missions; the same rules as in spend.py, which a test holds together.
CREATE FUNCTION mission_dashboard_recount_spend() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM mission_spend;
    WITH known AS (
        SELECT
            (coalesce(started_at, created_at) AT TIME ZONE 'UTC')::date AS day,
            usage,
            coalesce(model_used, '') AS model_used,
            input_tokens,
            output_tokens,
            tokens_used,
            cost_computed::text::numeric AS computed,
            CASE WHEN cost_computed IS NULL THEN coalesce(cost_reported, cost_estimate) ELSE cost_reported
                END::text::numeric AS reported
        FROM missions
        WHERE usage IS NOT NULL OR tokens_used > 0 OR cost_estimate IS NOT NULL
    ),
    parts AS (
        SELECT
            day, used.key AS model, (used.value ->> 'input_tokens')::numeric AS input,
            (used.value ->> 'cached_tokens')::numeric AS cached, (used.value ->> 'output_tokens')::numeric AS output,
            (used.value ->> 'reasoning_tokens')::numeric AS reasoning, 0 AS unsplit,
            (used.value ->> 'cost')::numeric AS computed, reported IS NOT NULL AS is_reported
        FROM known
        CROSS JOIN LATERAL jsonb_each(usage) AS used (key, value)
        UNION ALL
        SELECT
            day, model_used,
            CASE WHEN is_split THEN input_tokens ELSE 0 END, 0, CASE WHEN is_split THEN output_tokens ELSE 0 END, 0,
            CASE WHEN is_split THEN 0 ELSE coalesce(tokens_used, 0) END, computed, reported IS NOT NULL
        FROM known
        CROSS JOIN LATERAL (
            SELECT coalesce(input_tokens + output_tokens = tokens_used, false) AS is_split
        ) AS split
        WHERE usage IS NULL
    ),
    spent AS (
        SELECT
            day, model, input, cached, output, reasoning, unsplit,
            CASE WHEN computed IS NULL AND NOT is_reported THEN input + output + unsplit ELSE 0 END AS unpriced,
            CASE WHEN is_reported THEN 0 ELSE coalesce(computed, 0) END AS cost,
            0 AS reported,
            coalesce(computed, 0) AS computed
        FROM parts
        UNION ALL
        SELECT
            day,
            CASE
                WHEN usage IS NULL THEN model_used
                WHEN (SELECT count(*) FROM jsonb_object_keys(usage)) = 1
                    THEN (SELECT max(name) FROM jsonb_object_keys(usage) AS keys (name))
                ELSE '' END,
            0, 0, 0, 0, 0, 0, reported, reported, 0
        FROM known
        WHERE reported IS NOT NULL
    )
    INSERT INTO mission_spend
    SELECT
        day, 0, model, sum(input), sum(cached), sum(output), sum(reasoning), sum(unsplit), sum(unpriced), sum(cost),
        sum(reported), sum(computed)
    FROM spent
    GROUP BY day, model;
END $$;

ALTER FUNCTION mission_dashboard_recount() RENAME TO mission_dashboard_recount_missions;

-- Counts everything anew from the missions themselves: after writing to the tables by hand.
CREATE FUNCTION mission_dashboard_recount() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM mission_dashboard_recount_missions();
    PERFORM mission_dashboard_recount_spend();
END $$;

SELECT mission_dashboard_recount_spend();
