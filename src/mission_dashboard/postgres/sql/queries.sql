-- name: write_batch
-- Write a whole batch in one statement, so in one transaction and one round trip. Each mission appears once.
WITH created AS (
    INSERT INTO missions (
        id, title, description, status, priority, created_at, updated_at, version, started_at, completed_at,
        usage, cost_reported, cost_computed, unpriced_models,
        duration, progress, error_message, result, metadata, mission_type, agent_type, model_used, tokens_used,
        cost_estimate, parent_id, retry_of, step, input_tokens, output_tokens, heartbeat_at, moved_at, budget,
        budget_state, control, receipt, question, stalled_reason, finish_digest
    )
    SELECT
        id, title, description, status, priority, created_at, updated_at, version, started_at, completed_at,
        usage, cost_reported, cost_computed, unpriced_models,
        duration, progress, error_message, result, metadata, mission_type, agent_type, model_used, tokens_used,
        cost_estimate, parent_id, retry_of, step, input_tokens, output_tokens, heartbeat_at, moved_at, budget,
        budget_state, control, receipt, question, stalled_reason, finish_digest
    FROM json_to_recordset(:created::json) AS m (
        id text, title text, description text, status text, priority text, created_at timestamptz,
        usage jsonb, cost_reported double precision, cost_computed double precision, unpriced_models jsonb,
        updated_at timestamptz, version bigint, started_at timestamptz, completed_at timestamptz,
        duration double precision, progress double precision, error_message text, result jsonb, metadata jsonb,
        mission_type text, agent_type text, model_used text, tokens_used bigint, cost_estimate double precision,
        parent_id text, retry_of text, step text, input_tokens bigint, output_tokens bigint,
        heartbeat_at timestamptz, moved_at timestamptz, budget jsonb, budget_state text, control text, receipt jsonb,
        question jsonb, stalled_reason text, finish_digest text
    )
    RETURNING 1
),
moved AS (
    UPDATE missions
    SET status = m.status,
        updated_at = m.updated_at,
        version = m.version,
        started_at = m.started_at,
        completed_at = m.completed_at,
        usage = m.usage,
        cost_reported = m.cost_reported,
        cost_computed = m.cost_computed,
        unpriced_models = m.unpriced_models,
        duration = m.duration,
        progress = m.progress,
        error_message = m.error_message,
        agent_type = m.agent_type,
        model_used = m.model_used,
        tokens_used = m.tokens_used,
        cost_estimate = m.cost_estimate,
        step = m.step,
        input_tokens = m.input_tokens,
        output_tokens = m.output_tokens,
        heartbeat_at = m.heartbeat_at,
        moved_at = m.moved_at,
        stalled_reason = m.stalled_reason,
        finish_digest = m.finish_digest
    FROM json_to_recordset(:moved::json) AS m (
        id text, old_version bigint, status text, updated_at timestamptz, version bigint,
        usage jsonb, cost_reported double precision, cost_computed double precision, unpriced_models jsonb,
        started_at timestamptz, completed_at timestamptz, duration double precision, progress double precision,
        error_message text, agent_type text, model_used text, tokens_used bigint, cost_estimate double precision,
        step text, input_tokens bigint, output_tokens bigint, heartbeat_at timestamptz, moved_at timestamptz,
        stalled_reason text, finish_digest text
    )
    WHERE missions.id = m.id
        AND missions.version = m.old_version
    RETURNING 1
),
-- The same for missions whose large or seldom values changed too; the others' are left where they are.
rewritten AS (
    UPDATE missions
    SET status = m.status,
        updated_at = m.updated_at,
        version = m.version,
        started_at = m.started_at,
        completed_at = m.completed_at,
        usage = m.usage,
        cost_reported = m.cost_reported,
        cost_computed = m.cost_computed,
        unpriced_models = m.unpriced_models,
        duration = m.duration,
        progress = m.progress,
        error_message = m.error_message,
        agent_type = m.agent_type,
        model_used = m.model_used,
        tokens_used = m.tokens_used,
        cost_estimate = m.cost_estimate,
        step = m.step,
        input_tokens = m.input_tokens,
        output_tokens = m.output_tokens,
        heartbeat_at = m.heartbeat_at,
        moved_at = m.moved_at,
        stalled_reason = m.stalled_reason,
        finish_digest = m.finish_digest,
        parent_id = m.parent_id,
        result = m.result,
        metadata = m.metadata,
        mission_type = m.mission_type,
        budget_state = m.budget_state,
        control = m.control,
        receipt = m.receipt,
        question = m.question
    FROM json_to_recordset(:rewritten::json) AS m (
        id text, old_version bigint, status text, updated_at timestamptz, version bigint,
        usage jsonb, cost_reported double precision, cost_computed double precision, unpriced_models jsonb,
        started_at timestamptz, completed_at timestamptz, duration double precision, progress double precision,
        error_message text, agent_type text, model_used text, tokens_used bigint, cost_estimate double precision,
        step text, input_tokens bigint, output_tokens bigint, heartbeat_at timestamptz, moved_at timestamptz,
        stalled_reason text, finish_digest text,
        parent_id text, result jsonb, metadata jsonb, mission_type text, budget_state text, control text, receipt jsonb,
        question jsonb
    )
    WHERE missions.id = m.id
        AND missions.version = m.old_version
    RETURNING 1
),
recorded AS (
    INSERT INTO mission_events (mission_id, version, type, at, changes, actor, address, shard)
    SELECT mission_id, version, type, at, changes, actor, address, :shard::smallint
    FROM json_to_recordset(:events::json) AS e (
        mission_id text, version bigint, type text, at timestamptz, changes jsonb, actor text, address text
    )
),
counted AS (
    INSERT INTO mission_facets (shard, status, priority, type, agent_type, model_used, missions)
    SELECT :shard::smallint, status, priority, type, agent_type, model_used, missions
    FROM json_to_recordset(:facets::json) AS f (
        status text, priority text, type text, agent_type text, model_used text, missions bigint
    )
    ON CONFLICT (shard, status, priority, type, agent_type, model_used)
    DO UPDATE SET missions = mission_facets.missions + excluded.missions
),
summed AS (
    INSERT INTO mission_totals (shard, tokens, cost, duration, ran)
    SELECT :shard::smallint, tokens, cost, duration, ran
    FROM json_to_recordset(:totals::json) AS t (tokens numeric, cost numeric, duration double precision, ran bigint)
    ON CONFLICT (shard)
    DO UPDATE SET
        tokens = mission_totals.tokens + excluded.tokens,
        cost = mission_totals.cost + excluded.cost,
        duration = mission_totals.duration + excluded.duration,
        ran = mission_totals.ran + excluded.ran
),
told AS (
    INSERT INTO mission_minutes (
        minute, shard, created, started, completed, failed, cancelled, running, tokens, cost
    )
    SELECT minute, :shard::smallint, created, started, completed, failed, cancelled, running, tokens, cost
    FROM json_to_recordset(:minutes::json) AS n (
        minute timestamptz, created bigint, started bigint, completed bigint, failed bigint, cancelled bigint,
        running bigint, tokens numeric, cost numeric
    )
    ON CONFLICT (minute, shard)
    DO UPDATE SET
        created = mission_minutes.created + excluded.created,
        started = mission_minutes.started + excluded.started,
        completed = mission_minutes.completed + excluded.completed,
        failed = mission_minutes.failed + excluded.failed,
        cancelled = mission_minutes.cancelled + excluded.cancelled,
        running = mission_minutes.running + excluded.running,
        tokens = mission_minutes.tokens + excluded.tokens,
        cost = mission_minutes.cost + excluded.cost
),
priced AS (
    INSERT INTO mission_spend (
        day, shard, model, input, cached, output, reasoning, unsplit, unpriced, cost, cost_reported, cost_computed
    )
    SELECT
        day, :shard::smallint, model, input, cached, output, reasoning, unsplit, unpriced, cost, cost_reported,
        cost_computed
    FROM json_to_recordset(:spend::json) AS s (
        day date, model text, input numeric, cached numeric, output numeric, reasoning numeric, unsplit numeric,
        unpriced numeric, cost numeric, cost_reported numeric, cost_computed numeric
    )
    ON CONFLICT (day, shard, model)
    DO UPDATE SET
        input = mission_spend.input + excluded.input,
        cached = mission_spend.cached + excluded.cached,
        output = mission_spend.output + excluded.output,
        reasoning = mission_spend.reasoning + excluded.reasoning,
        unsplit = mission_spend.unsplit + excluded.unsplit,
        unpriced = mission_spend.unpriced + excluded.unpriced,
        cost = mission_spend.cost + excluded.cost,
        cost_reported = mission_spend.cost_reported + excluded.cost_reported,
        cost_computed = mission_spend.cost_computed + excluded.cost_computed
),
used AS (
    INSERT INTO mission_days (day, shard, agent_type, tokens, cost)
    SELECT day, :shard::smallint, agent_type, tokens, cost
    FROM json_to_recordset(:days::json) AS d (day date, agent_type text, tokens numeric, cost numeric)
    ON CONFLICT (day, shard, agent_type)
    DO UPDATE SET
        tokens = mission_days.tokens + excluded.tokens,
        cost = mission_days.cost + excluded.cost
),
-- Signs of life alone: no version, so they never stand in the way of another writer.
alive AS (
    UPDATE missions
    SET heartbeat_at = greatest(missions.heartbeat_at, t.heartbeat_at)
    FROM json_to_recordset(:touched::json) AS t (id text, heartbeat_at timestamptz)
    WHERE missions.id = t.id
        AND missions.status IN ('pending', 'running')
),
remembered AS (
    INSERT INTO idempotency_keys (key, digest, mission_id, created_at)
    SELECT key, digest, mission_id, created_at
    FROM json_to_recordset(:keys::json) AS k (key text, digest text, mission_id text, created_at timestamptz)
),
logged AS (
    INSERT INTO mission_logs (mission_id, id, at, level, message, shard)
    SELECT mission_id, id, at, level, message, :shard::smallint
    FROM json_to_recordset(:lines::json) AS l (mission_id text, id uuid, at timestamptz, level text, message text)
    ON CONFLICT (mission_id, id) DO NOTHING
),
spanned AS (
    INSERT INTO mission_spans (
        mission_id, id, parent_id, name, kind, started_at, ended_at, model, usage, cost, error, attributes, shard
    )
    SELECT
        mission_id, id, parent_id, name, kind, started_at, ended_at, model, usage, cost, error, attributes,
        :shard::smallint
    FROM json_to_recordset(:spans::json) AS s (
        mission_id text, id text, parent_id text, name text, kind text, started_at timestamptz, ended_at timestamptz,
        model text, usage jsonb, cost double precision, error text, attributes jsonb
    )
    ON CONFLICT (mission_id, id)
    DO UPDATE SET
        parent_id = excluded.parent_id,
        name = excluded.name,
        kind = excluded.kind,
        started_at = excluded.started_at,
        ended_at = excluded.ended_at,
        model = excluded.model,
        usage = excluded.usage,
        cost = excluded.cost,
        error = excluded.error,
        attributes = excluded.attributes,
        committed_in = excluded.committed_in,
        number = excluded.number,
        shard = excluded.shard
),
kept AS (
    INSERT INTO otlp_spans (
        trace_id, span_id, parent_id, parent_is_remote, received_at, look_at, mission_id, is_agent, is_genai, uses, span
    )
    SELECT
        trace_id, span_id, parent_id, parent_is_remote, received_at, look_at, mission_id, is_agent, is_genai, uses, span
    FROM json_to_recordset(:kept::json) AS o (
        trace_id text, span_id text, parent_id text, parent_is_remote boolean, received_at timestamptz,
        look_at timestamptz, mission_id text, is_agent boolean, is_genai boolean, uses boolean, span jsonb
    )
    ON CONFLICT (trace_id, span_id)
    DO UPDATE SET
        look_at = excluded.look_at,
        mission_id = excluded.mission_id,
        uses = excluded.uses,
        span = CASE
            WHEN excluded.mission_id IS NULL AND excluded.look_at IS NOT NULL
                THEN coalesce(otlp_spans.span, excluded.span) END
    -- What is settled stays so, whoever saw it open before.
    WHERE otlp_spans.look_at IS NOT NULL
)
SELECT
    mission_dashboard_require_all(
        (SELECT count(*) FROM moved) + (SELECT count(*) FROM rewritten),
        json_array_length(:moved::json) + json_array_length(:rewritten::json)
    );

-- name: claim_shard
-- Take the first counter shard that no other process holds, for as long as this connection lives.
SELECT shard
FROM generate_series(0, 1023) AS shard
WHERE pg_try_advisory_lock(1297700932, shard)
LIMIT 1;

-- name: skip_transactions!
-- Use up transaction ids before anything is written: a server that crashed gives those of its last transactions out again,
-- as far as they were not on disk yet, and viewers have cursors beyond them.
DO $$
BEGIN
    -- A standby gives none out.
    FOR step IN 1..CASE WHEN pg_is_in_recovery() THEN 0 ELSE 1000 END LOOP
        PERFORM set_config('synchronous_commit', 'off', true), pg_current_xact_id();
        COMMIT;
    END LOOP;
END $$;

-- name: other_writers
-- How many other connections hold a counter shard of this database: those of other server processes.
SELECT count(*)
FROM pg_locks
JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE locktype = 'advisory'
    AND classid = 1297700932
    AND objid <> :shard
    AND datname = current_database();

-- name: sight
-- Which transactions a reader sees now, and before which all have ended.
SELECT pg_current_snapshot()::text, pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- name: news
-- The changes that can be seen now and could not be seen in an earlier snapshot, but those of one shard, in the order
-- of each mission's versions. The first row tells what is seen now, whether there are changes or not.
-- No more than the limit is read of either part: a process that stood still for an hour may find millions.
WITH news AS (
    (
        SELECT mission_id, version, type, at, changes, actor, address, committed_in
        FROM mission_events
        WHERE committed_in >= pg_snapshot_xmax(:seen::pg_snapshot)
            AND shard IS DISTINCT FROM :shard::smallint
        ORDER BY committed_in
        LIMIT :limit
    )
    UNION ALL
    SELECT e.mission_id, e.version, e.type, e.at, e.changes, e.actor, e.address, e.committed_in
    FROM (SELECT pg_snapshot_xip(:seen::pg_snapshot) AS xid) AS open_then
    CROSS JOIN LATERAL (
        SELECT mission_id, version, type, at, changes, actor, address, committed_in
        FROM mission_events
        WHERE committed_in = open_then.xid
            AND shard IS DISTINCT FROM :shard::smallint
        LIMIT :limit
    ) AS e
    ORDER BY committed_in, mission_id, version
    LIMIT :limit
)
SELECT
    mission_id, version, type, at, changes, actor, address, pg_current_snapshot()::text,
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint
FROM (SELECT 1) AS always
LEFT JOIN news ON true
ORDER BY committed_in, mission_id, version;

-- name: new_lines
-- The log lines of some missions that can be seen in one snapshot and not in an earlier one, but those of one shard.
SELECT mission_id, id::text, at, level, message
FROM mission_logs
WHERE mission_id = ANY(:ids)
    AND committed_in >= pg_snapshot_xmin(:seen::pg_snapshot)
    AND NOT pg_visible_in_snapshot(committed_in, :seen::pg_snapshot)
    AND pg_visible_in_snapshot(committed_in, :now::pg_snapshot)
    AND shard IS DISTINCT FROM :shard::smallint
ORDER BY committed_in, number
LIMIT :limit;

-- name: new_spans
-- The same for spans.
SELECT
    mission_id, id, name, kind, started_at, parent_id, ended_at, model, usage, cost, error, attributes
FROM mission_spans
WHERE mission_id = ANY(:ids)
    AND committed_in >= pg_snapshot_xmin(:seen::pg_snapshot)
    AND NOT pg_visible_in_snapshot(committed_in, :seen::pg_snapshot)
    AND pg_visible_in_snapshot(committed_in, :now::pg_snapshot)
    AND shard IS DISTINCT FROM :shard::smallint
ORDER BY committed_in, number
LIMIT :limit;

-- name: tell_others
-- Tell the other server processes that there is something to read.
SELECT pg_notify('mission_dashboard', :payload);

-- name: mission_rows
-- The missions with these ids, as far as they exist.
SELECT {columns}
FROM missions
WHERE id = ANY(:ids);

-- name: alive_rows
-- The newest missions that have not finished.
SELECT {columns}
FROM missions
WHERE status IN ('pending', 'running')
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- name: running_rows
-- All running missions, newest first.
SELECT {columns}
FROM missions
WHERE status = 'running'
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- name: finished_rows
-- The missions that finished last.
SELECT {columns}
FROM missions
WHERE completed_at IS NOT NULL
ORDER BY completed_at DESC
LIMIT :limit;

-- name: overdue_rows
-- The missions of which something may be due; the domain decides what.
SELECT {columns}
FROM missions
WHERE status = 'running'
    AND (
        (heartbeat_at < :silent_since AND stalled_reason IS NULL)
        -- Heard by a clock that has been set back since.
        OR (heartbeat_at > :at::timestamptz + interval '1 minute' AND stalled_reason IS NULL)
        OR (heartbeat_at < :silent_since AND :loses)
        OR started_at + (budget ->> 'seconds')::double precision * interval '0.8 seconds' <= :at
        OR (question ->> 'state' = 'open' AND (question ->> 'expires_at')::timestamptz <= :at)
    )
UNION ALL
SELECT {columns}
FROM missions
WHERE control = 'cancel_requested'
    AND NOT (receipt ->> 'unconfirmed')::boolean
    AND (receipt ->> 'deadline')::timestamptz < :at
LIMIT 1000;

-- name: day_rows
-- What each agent used today, and yesterday for those whose clock is behind.
SELECT day, agent_type, sum(tokens), sum(cost)
FROM mission_days
WHERE day >= (now() AT TIME ZONE 'UTC')::date - 1
GROUP BY day, agent_type;

-- name: day_budget_rows
-- The daily budgets, by name.
SELECT name, agent_type, cost, tokens
FROM mission_day_budgets
ORDER BY name;

-- name: put_day_budget!
-- Set a daily budget.
INSERT INTO mission_day_budgets (name, agent_type, cost, tokens)
VALUES (:name, :agent_type, :cost, :tokens)
ON CONFLICT (name)
DO UPDATE SET agent_type = excluded.agent_type, cost = excluded.cost, tokens = excluded.tokens;

-- name: drop_day_budget
-- Delete a daily budget.
DELETE FROM mission_day_budgets
WHERE name = :name
RETURNING name;

-- name: ping_rows
-- The newest mission that a script speaks of by this name.
SELECT {columns}
FROM missions
WHERE metadata ->> 'ping_key' = :key
ORDER BY created_at DESC, id DESC
LIMIT 1;

-- name: key_rows
-- What these idempotency keys were used for.
SELECT key, digest, mission_id
FROM idempotency_keys
WHERE key = ANY(:keys);

-- name: forget_keys!
-- Idempotency keys are honoured for a day.
DELETE FROM idempotency_keys
WHERE created_at < now() - interval '24 hours';

-- name: database_name
-- The database's own name, for cursors.
SELECT name
FROM mission_dashboard_database;

-- name: horizon
-- Every transaction before this one has ended and is visible.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- name: stored_horizon
-- The newest transaction that anything stored names, next to the newest one the server knows.
SELECT
    greatest(
        (SELECT committed_in FROM mission_events ORDER BY committed_in DESC LIMIT 1)::text::bigint,
        (SELECT committed_in FROM mission_logs ORDER BY committed_in DESC LIMIT 1)::text::bigint,
        (SELECT committed_in FROM mission_spans ORDER BY committed_in DESC LIMIT 1)::text::bigint,
        (SELECT max(before) - 1 FROM mission_retention_marks),
        (SELECT nullif(events_from, 0) - 1 FROM mission_retention)
    ),
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint;

-- name: forget_transactions!
-- After a restore into another cluster: its transaction ids mean nothing here.
WITH logs AS (
    UPDATE mission_logs
    SET committed_in = '0'
),
spans AS (
    UPDATE mission_spans
    SET committed_in = '0'
),
marks AS (
    DELETE FROM mission_retention_marks
),
retention AS (
    UPDATE mission_retention
    SET events_from = 0
)
UPDATE mission_events
SET committed_in = '0';

-- name: rename_database!
-- Make every cursor given out so far unknown.
UPDATE mission_dashboard_database
SET name = substr(md5(random()::text || clock_timestamp()::text || pg_backend_pid()::text), 1, 8);

-- name: events_since
-- The changes since a transaction, in the order of each mission's versions, and how far this view reaches.
SELECT
    mission_id, version, type, at, changes, actor, address,
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon
FROM mission_events
WHERE committed_in >= :transaction::text::xid8
ORDER BY committed_in, mission_id, version
LIMIT :limit;

-- name: facet_rows
-- How many missions there are of each combination; how many of each status were removed, and with which removal this
-- view ends: together, because what is removed moves from the one to the other.
SELECT 'kept', status, priority, type, agent_type, model_used, sum(missions)::bigint
FROM mission_facets
GROUP BY status, priority, type, agent_type, model_used
HAVING sum(missions) <> 0
UNION ALL
SELECT 'removed', status, '', '', '', '', missions
FROM mission_removed
UNION ALL
SELECT 'last removal', '', '', '', '', '', removals
FROM mission_retention;

-- name: removal_rows
-- What was removed after a removal.
SELECT number, mission_ids, facets
FROM mission_removals
WHERE number > :after
ORDER BY number
LIMIT 100;

-- name: events_from
-- From which transaction on every event is there.
SELECT events_from
FROM mission_retention;

-- name: total_row
-- The sums over all missions.
SELECT
    coalesce(sum(tokens), 0), coalesce(sum(cost), 0), coalesce(sum(duration), 0)::double precision,
    coalesce(sum(ran), 0)::bigint
FROM mission_totals;

-- name: minute_rows
-- What happened in each minute since a moment.
SELECT
    minute, sum(created)::bigint, sum(started)::bigint, sum(completed)::bigint, sum(failed)::bigint,
    sum(cancelled)::bigint, sum(running)::bigint, sum(tokens), sum(cost)
FROM mission_minutes
WHERE minute >= :since
GROUP BY minute
ORDER BY minute;

-- name: spend_rows
-- What each model used and cost in missions that started on each day since one, the newest and dearest first.
SELECT
    day, model, sum(input), sum(cached), sum(output), sum(reasoning),
    sum(unsplit), sum(unpriced), sum(cost), sum(cost_reported), sum(cost_computed)
FROM mission_spend
WHERE day >= :since
GROUP BY day, model
HAVING sum(input) <> 0 OR sum(output) <> 0 OR sum(unsplit) <> 0 OR sum(cost) <> 0 OR sum(cost_computed) <> 0
ORDER BY day DESC, sum(cost) DESC, model
LIMIT :limit;

-- name: spend_by_model
-- What each model used and cost on all days, the dearest first; what comes after so many is added up as 'other'.
WITH each AS (
    SELECT
        model, sum(input) AS input, sum(cached) AS cached, sum(output) AS output, sum(reasoning) AS reasoning,
        sum(unsplit) AS unsplit, sum(unpriced) AS unpriced, sum(cost) AS cost, sum(cost_reported) AS cost_reported,
        sum(cost_computed) AS cost_computed,
        row_number() OVER (ORDER BY sum(cost) DESC, sum(input) + sum(output) + sum(unsplit) DESC, model) AS place
    FROM mission_spend
    GROUP BY model
)
SELECT
    CASE WHEN place <= :limit THEN model ELSE 'other' END, sum(input), sum(cached), sum(output), sum(reasoning),
    sum(unsplit), sum(unpriced), sum(cost), sum(cost_reported), sum(cost_computed)
FROM each
GROUP BY 1
ORDER BY min(place);

-- name: spend_total
-- The same over all models and all days since one.
SELECT
    coalesce(sum(input), 0), coalesce(sum(cached), 0), coalesce(sum(output), 0),
    coalesce(sum(reasoning), 0), coalesce(sum(unsplit), 0), coalesce(sum(unpriced), 0),
    coalesce(sum(cost), 0), coalesce(sum(cost_reported), 0), coalesce(sum(cost_computed), 0)
FROM mission_spend
WHERE day >= :since;

-- name: priceable_rows
-- The next missions, in the order of their ids, whose computed cost follows from tokens and prices.
SELECT {columns}
FROM missions
WHERE id > :after_id
    AND (
        usage IS NOT NULL
        OR cost_computed IS NOT NULL
        OR (cost_estimate IS NULL AND model_used IS NOT NULL AND tokens_used > 0)
    )
    AND (:since IS NULL OR coalesce(started_at, created_at) >= :since)
    AND (:model IS NULL OR usage ? :model OR (usage IS NULL AND model_used = :model))
ORDER BY id
LIMIT :limit;

-- name: duration_percentiles
-- Median and 95th percentile of the run times of the last 10,000 missions that finished since a moment.
SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY duration)
FROM (
    SELECT duration
    FROM missions
    WHERE completed_at >= :since
        AND duration IS NOT NULL
    ORDER BY completed_at DESC
    LIMIT 10000
) AS recent;

-- name: snapshot_metrics!
-- Keep the metrics of this moment, once a minute whoever asks.
INSERT INTO mission_metrics (
    timestamp, total_missions, completed_missions, failed_missions, running_missions, average_duration,
    success_rate, total_tokens, total_cost
)
SELECT :at, :total_missions, :completed_missions, :failed_missions, :running_missions, :average_duration,
    :success_rate, least(:total_tokens::numeric, 9223372036854775807)::bigint, :total_cost
WHERE NOT EXISTS (
    SELECT 1
    FROM mission_metrics
    WHERE timestamp > :at::timestamptz - interval '30 seconds'
);

-- name: event_rows
-- One mission's history from a version on.
SELECT mission_id, version, type, at, changes, actor, address
FROM mission_events
WHERE mission_id = :mission_id
    AND version > :after
ORDER BY version
LIMIT :limit;

-- name: question_row
-- The last state of one of a mission's questions.
SELECT changes -> 'question'
FROM mission_events
WHERE mission_id = :mission_id
    AND changes -> 'question' ->> 'id' = :question_id
ORDER BY version DESC
LIMIT 1;

-- name: log_rows
-- A mission's log from a place on, with what came late of transactions that were open then; and which are open now.
WITH page AS (
    (
        SELECT *
        FROM mission_logs
        WHERE mission_id = :mission_id
            AND (committed_in, number) > (:transaction::text::xid8, :number)
        ORDER BY committed_in, number
        LIMIT :limit
    )
    UNION ALL
    (
        SELECT *
        FROM mission_logs
        WHERE mission_id = :mission_id
            AND committed_in = ANY(:open::text[]::xid8[])
        ORDER BY committed_in, number
        LIMIT :limit
    )
)
SELECT
    mission_id, id::text, at, level, message, committed_in::text::bigint, number,
    ARRAY(SELECT xid::text::bigint FROM pg_snapshot_xip(pg_current_snapshot()) AS xid ORDER BY 1) AS running
FROM page
ORDER BY page.committed_in, number
LIMIT :limit;

-- name: last_log_rows
-- The newest lines of a mission's log, oldest first.
SELECT mission_id, id, at, level, message, committed_in, number, running
FROM (
    SELECT
        mission_id, id::text, at, level, message, committed_in::text::bigint, number,
        ARRAY(SELECT xid::text::bigint FROM pg_snapshot_xip(pg_current_snapshot()) AS xid ORDER BY 1) AS running
    FROM mission_logs
    WHERE mission_id = :mission_id
    ORDER BY mission_logs.committed_in DESC, number DESC
    LIMIT :limit
) AS newest
ORDER BY committed_in, number;

-- name: span_rows
-- A mission's spans from a place on, in the order of their last change; the same otherwise.
WITH page AS (
    (
        SELECT *
        FROM mission_spans
        WHERE mission_id = :mission_id
            AND (committed_in, number) > (:transaction::text::xid8, :number)
        ORDER BY committed_in, number
        LIMIT :limit
    )
    UNION ALL
    (
        SELECT *
        FROM mission_spans
        WHERE mission_id = :mission_id
            AND committed_in = ANY(:open::text[]::xid8[])
        ORDER BY committed_in, number
        LIMIT :limit
    )
)
SELECT
    mission_id, id, name, kind, started_at, parent_id, ended_at, model, usage, cost, error, attributes,
    committed_in::text::bigint, number,
    ARRAY(SELECT xid::text::bigint FROM pg_snapshot_xip(pg_current_snapshot()) AS xid ORDER BY 1) AS running
FROM page
ORDER BY page.committed_in, number
LIMIT :limit;

-- name: tree_rows
-- A mission and all below it, level by level. A loop, which only a hand in the table can make, is not followed.
WITH RECURSIVE below AS (
    SELECT id, 0 AS depth, ARRAY[id] AS path
    FROM missions
    WHERE id = :mission_id
    UNION ALL
    SELECT missions.id, below.depth + 1, below.path || missions.id
    FROM below
    JOIN missions ON missions.parent_id = below.id
    WHERE below.depth <= :depth_limit
        AND missions.id <> ALL(below.path)
)
SELECT
    m.id, m.parent_id, b.depth, m.title, m.status, m.agent_type, m.model_used, m.progress, m.created_at, m.started_at,
    m.completed_at, m.duration, m.tokens_used, m.input_tokens, m.output_tokens, m.cost_estimate::text::numeric,
    r.missions, r.tokens, r.input_tokens, r.output_tokens, r.cost
FROM (SELECT id, depth FROM below LIMIT :limit) AS b
JOIN missions AS m ON m.id = b.id
LEFT JOIN mission_remains AS r ON r.mission_id = b.id
ORDER BY b.depth, m.created_at, m.id;

-- name: known_span_rows
-- These spans, all of these traces that are open, and the parents of those.
WITH open AS (
    SELECT *
    FROM otlp_spans
    WHERE trace_id = ANY(:trace_ids)
        AND look_at IS NOT NULL
),
wanted AS (
    SELECT trace_id, span_id
    FROM open
    UNION
    SELECT trace_id, parent_id
    FROM open
    WHERE parent_id IS NOT NULL
    UNION
    SELECT trace_id, span_id
    FROM json_to_recordset(:keys::json) AS k (trace_id text, span_id text)
)
SELECT
    trace_id, span_id, parent_id, parent_is_remote, received_at, is_agent, is_genai, uses, mission_id, look_at
FROM wanted
JOIN otlp_spans USING (trace_id, span_id);

-- name: kept_span_rows
-- The spans themselves, of those that wait for their mission.
SELECT trace_id, span_id, span
FROM json_to_recordset(:keys::json) AS k (trace_id text, span_id text)
JOIN otlp_spans USING (trace_id, span_id)
WHERE span IS NOT NULL;

-- name: span_use_rows
-- What the spans of these missions used, by model.
SELECT
    mission_id, model,
    least(coalesce(sum((usage ->> 'input_tokens')::bigint), 0), :most)::bigint,
    least(coalesce(sum((usage ->> 'cached_tokens')::bigint), 0), :most)::bigint,
    least(coalesce(sum((usage ->> 'output_tokens')::bigint), 0), :most)::bigint,
    least(coalesce(sum((usage ->> 'reasoning_tokens')::bigint), 0), :most)::bigint,
    sum(cost::text::numeric)::double precision,
    count(usage)
FROM mission_spans
WHERE mission_id = ANY(:mission_ids)
    AND (usage IS NOT NULL OR cost IS NOT NULL)
    -- Where retention may have deleted spans, the sum of those left is not what the mission used.
    AND NOT EXISTS (
        SELECT 1
        FROM missions AS m
        CROSS JOIN mission_retention AS r
        WHERE m.id = mission_spans.mission_id
            AND m.status IN ('completed', 'failed', 'cancelled')
            AND m.created_at < r.spans_until
            AND m.updated_at < r.spans_at
    )
GROUP BY mission_id, model
ORDER BY mission_id, model;

-- name: ancestor_rows
-- The missions above these. A loop is not followed.
WITH RECURSIVE above AS (
    SELECT id, parent_id
    FROM missions
    WHERE id = ANY(:mission_ids)
    UNION
    SELECT missions.id, missions.parent_id
    FROM above
    JOIN missions ON missions.id = above.parent_id
)
SELECT id
FROM above
LIMIT 1000;

-- name: open_trace_rows
-- The traces in which something is open that should be looked at again.
SELECT trace_id
FROM otlp_spans
WHERE look_at <= :at
GROUP BY trace_id
ORDER BY min(look_at)
LIMIT :limit;

-- name: waiting_span_count
-- How many spans wait.
SELECT count(*)
FROM otlp_spans
WHERE look_at IS NOT NULL;

-- name: forget_known_spans!
-- Of traces that ended long ago nothing needs to be known any more.
DELETE FROM otlp_spans
WHERE received_at < :before
    AND look_at IS NULL;

-- name: server_version
-- The version of the PostgreSQL server.
SELECT current_setting('server_version');

-- name: page_rows
-- One page of missions: the first of each status, merged, so that an index serves it whatever the table's size.
-- The store fills in {key}, {direction} and {comes_after} from its own table of orders, and {filters} from
-- the query of that name.
SELECT {page_columns}
FROM unnest(:statuses) AS wanted (status)
CROSS JOIN LATERAL (
    SELECT {columns}, {key} AS sort_key
    FROM missions
    WHERE missions.status = wanted.status
        AND (:after_id IS NULL OR ({key}, id) {comes_after} (:after_key, :after_id))
        AND {filters}
    ORDER BY sort_key {direction}, id {direction}
    LIMIT :limit
) AS page
ORDER BY sort_key {direction}, id {direction}
LIMIT :limit;

-- name: page_total
-- How many missions the filters let through, where the totals cannot tell.
SELECT count(*)
FROM missions
WHERE status = ANY(:statuses)
    AND {filters};

-- name: filters
-- What a caller may filter by: the condition of the two queries above. Parts with NULL vanish when planned.
SELECT id
FROM missions
WHERE (:priority IS NULL OR priority = ANY(:priority))
    AND (:type IS NULL OR mission_type = ANY(:type))
    AND (:agent_type IS NULL OR agent_type = ANY(:agent_type))
    AND (:model_used IS NULL OR model_used = ANY(:model_used))
    AND (
        :needs IS NULL
        OR ('question' = ANY(:needs) AND question ->> 'state' = 'open')
        OR ('stalled' = ANY(:needs) AND stalled_reason IS NOT NULL)
        OR ('budget' = ANY(:needs) AND budget_state = 'warning' AND status = 'running')
        OR ('over_budget' = ANY(:needs) AND budget_state = 'exceeded')
        OR ('unconfirmed' = ANY(:needs) AND control = 'cancel_requested' AND (receipt ->> 'unconfirmed')::boolean)
    )
    AND (:parent_id IS NULL OR parent_id = :parent_id)
    AND (:created_after IS NULL OR created_at >= :created_after)
    AND (:created_before IS NULL OR created_at < :created_before)
    AND (:finished_after IS NULL OR completed_at >= :finished_after)
    AND (:finished_before IS NULL OR completed_at < :finished_before)
    AND (
        :word1 IS NULL
        OR mission_search_text(title, description, mission_type, agent_type, model_used) LIKE :word1
        OR id LIKE :id_prefix
    )
    AND (:word2 IS NULL OR mission_search_text(title, description, mission_type, agent_type, model_used) LIKE :word2)
    AND (:word3 IS NULL OR mission_search_text(title, description, mission_type, agent_type, model_used) LIKE :word3)
    AND (:word4 IS NULL OR mission_search_text(title, description, mission_type, agent_type, model_used) LIKE :word4)
    AND (:word5 IS NULL OR mission_search_text(title, description, mission_type, agent_type, model_used) LIKE :word5)
    AND (:word6 IS NULL OR mission_search_text(title, description, mission_type, agent_type, model_used) LIKE :word6);
