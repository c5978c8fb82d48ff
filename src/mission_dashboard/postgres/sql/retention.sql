-- name: claim_retention
-- Be the one process that removes, for as long as this connection lives. Alerts have the number before this one.
SELECT pg_try_advisory_lock(1297700934, 1);

-- name: retention_row
-- What retention did, and the server's own time.
SELECT
    events_from, spans_until, removals, seen_at, hold_until, began_at, ended_at, missions, events, logs, spans, now()
FROM mission_retention;

-- name: note_seen!
-- Remember that a pass looked, and until when nothing is deleted.
UPDATE mission_retention
SET seen_at = :at,
    hold_until = :hold_until;

-- name: note_began!
-- Remember when a pass began to delete.
UPDATE mission_retention
SET began_at = :at,
    ended_at = NULL;

-- name: note_ended!
-- Remember that a pass came to its end.
UPDATE mission_retention
SET ended_at = :at;

-- name: drop_old_keys!
-- No key may name a mission that goes: those are at least a day old.
DELETE FROM idempotency_keys
WHERE created_at < now() - interval '24 hours';

-- name: drop_wrong_marks!
-- Marks from the future: the clock was wrong then, or is now. Once it has run on for as long as anything is kept, then.
DELETE FROM mission_retention_marks
WHERE at > :at::timestamptz + interval '1 minute'
    AND before <= (
        SELECT before
        FROM mission_retention_marks
        WHERE at <= :before
        ORDER BY at DESC
        LIMIT 1
    );

-- name: make_mark!
-- Note once an hour that what came before the horizon was there by now.
INSERT INTO mission_retention_marks (at, before)
SELECT :at, pg_snapshot_xmin(pg_current_snapshot())::text::bigint
WHERE NOT EXISTS (
    SELECT 1
    FROM mission_retention_marks
    WHERE at > :at::timestamptz - interval '1 hour'
        AND at <= :at::timestamptz + interval '1 minute'
);

-- name: drop_old_marks!
-- Forget marks older than a moment, save the newest of them.
DELETE FROM mission_retention_marks
WHERE at < (
    SELECT max(at)
    FROM mission_retention_marks
    WHERE at <= :before
);

-- name: mark_at
-- Before which transaction everything is older than a moment. Where a later mark names an earlier transaction, the clock
-- had been set back when this one was made.
SELECT before
FROM mission_retention_marks AS mark
WHERE at <= :at
    AND NOT EXISTS (
        SELECT 1
        FROM mission_retention_marks AS later
        WHERE later.at > mark.at
            AND later.before < mark.before
    )
ORDER BY at DESC
LIMIT 1;

-- name: due_missions
-- The next missions of a status that finished before a moment and have no parts left.
SELECT id, completed_at
FROM missions
WHERE status = :status
    AND completed_at < :before
    AND (completed_at, id) > (:after_at::timestamptz, :after_id)
    AND NOT EXISTS (
        SELECT 1
        FROM missions AS part
        WHERE part.parent_id = missions.id
    )
ORDER BY completed_at, id
LIMIT :limit;

-- name: due_endless
-- The same for older rows that tell no end.
SELECT id, updated_at
FROM missions
WHERE status = :status
    AND completed_at IS NULL
    AND status IN ('completed', 'failed', 'cancelled')
    AND updated_at < :before
    AND id > :after_id
    AND NOT EXISTS (
        SELECT 1
        FROM missions AS part
        WHERE part.parent_id = missions.id
    )
ORDER BY id
LIMIT :limit;

-- name: thin_records
-- Delete some events, log lines and spans of these missions; return how many of each.
WITH events AS (
    DELETE FROM mission_events
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM mission_events WHERE mission_id = ANY(:ids) LIMIT :limit))
    RETURNING committed_in
),
logs AS (
    DELETE FROM mission_logs
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM mission_logs WHERE mission_id = ANY(:ids) LIMIT :limit))
    RETURNING 1
),
spans AS (
    DELETE FROM mission_spans
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM mission_spans WHERE mission_id = ANY(:ids) LIMIT :limit))
    RETURNING 1
)
UPDATE mission_retention
SET events_from = greatest(events_from, (SELECT max(committed_in::text::bigint) + 1 FROM events)),
    events = events + (SELECT count(*) FROM events),
    logs = logs + (SELECT count(*) FROM logs),
    spans = spans + (SELECT count(*) FROM spans)
RETURNING (SELECT count(*) FROM events), (SELECT count(*) FROM logs), (SELECT count(*) FROM spans);

-- name: remove_missions
-- Delete these missions and what is left of their records, and keep what they add to all sums. A mission that someone
-- writes to just now, or that got a part, stays for the next time.
WITH gone AS (
    DELETE FROM missions
    WHERE id IN (
        SELECT id
        FROM missions
        WHERE id = ANY(:ids)
            AND status IN ('completed', 'failed', 'cancelled')
        FOR UPDATE SKIP LOCKED
    )
        AND NOT EXISTS (
            SELECT 1
            FROM missions AS part
            WHERE part.parent_id = missions.id
        )
    RETURNING
        id, parent_id, status, priority, mission_type, agent_type, model_used, created_at, started_at, duration, usage,
        tokens_used, input_tokens, output_tokens, cost_estimate, cost_reported, cost_computed
),
events AS (
    DELETE FROM mission_events
    WHERE mission_id IN (SELECT id FROM gone)
    RETURNING committed_in
),
logs AS (
    DELETE FROM mission_logs
    WHERE mission_id IN (SELECT id FROM gone)
    RETURNING 1
),
spans AS (
    DELETE FROM mission_spans
    WHERE mission_id IN (SELECT id FROM gone)
    RETURNING 1
),
remains AS (
    DELETE FROM mission_remains
    WHERE mission_id IN (SELECT id FROM gone)
    RETURNING mission_id, missions, tokens, input_tokens, output_tokens, cost
),
bequeathed AS (
    INSERT INTO mission_remains (mission_id, missions, tokens, input_tokens, output_tokens, cost)
    SELECT
        gone.parent_id,
        sum(1 + coalesce(remains.missions, 0)),
        sum(coalesce(gone.tokens_used, 0) + coalesce(remains.tokens, 0)),
        sum(coalesce(gone.input_tokens, 0) + coalesce(remains.input_tokens, 0)),
        sum(coalesce(gone.output_tokens, 0) + coalesce(remains.output_tokens, 0)),
        sum(coalesce(gone.cost_estimate::text::numeric, 0) + coalesce(remains.cost, 0))
    FROM gone
    LEFT JOIN remains ON remains.mission_id = gone.id
    WHERE gone.parent_id IN (SELECT parent.id FROM missions AS parent WHERE parent.id = gone.parent_id)
    GROUP BY gone.parent_id
    ON CONFLICT (mission_id)
    DO UPDATE SET
        missions = mission_remains.missions + excluded.missions,
        tokens = mission_remains.tokens + excluded.tokens,
        input_tokens = mission_remains.input_tokens + excluded.input_tokens,
        output_tokens = mission_remains.output_tokens + excluded.output_tokens,
        cost = mission_remains.cost + excluded.cost
),
facets AS (
    SELECT
        status, priority, coalesce(mission_type, '') AS type, coalesce(agent_type, '') AS agent_type,
        coalesce(model_used, '') AS model_used, count(*) AS missions
    FROM gone
    GROUP BY 1, 2, 3, 4, 5
),
-- Shard -1 is retention's own, so that no writer waits for its rows.
uncounted AS (
    INSERT INTO mission_facets (shard, status, priority, type, agent_type, model_used, missions)
    SELECT -1, status, priority, type, agent_type, model_used, -missions
    FROM facets
    ON CONFLICT (shard, status, priority, type, agent_type, model_used)
    DO UPDATE SET missions = mission_facets.missions + excluded.missions
),
kept AS (
    INSERT INTO mission_removed (status, missions, tokens, cost, duration, ran)
    SELECT
        status, count(*), coalesce(sum(tokens_used), 0), coalesce(sum(cost_estimate::text::numeric), 0),
        coalesce(sum(duration), 0), count(duration)
    FROM gone
    GROUP BY status
    ON CONFLICT (status)
    DO UPDATE SET
        missions = mission_removed.missions + excluded.missions,
        tokens = mission_removed.tokens + excluded.tokens,
        cost = mission_removed.cost + excluded.cost,
        duration = mission_removed.duration + excluded.duration,
        ran = mission_removed.ran + excluded.ran
),
kept_spend AS (
    INSERT INTO mission_removed_spend (
        day, model, input, cached, output, reasoning, unsplit, unpriced, cost, cost_reported, cost_computed
    )
    SELECT
        (coalesce(started_at, created_at) AT TIME ZONE 'UTC')::date, model, sum(input), sum(cached), sum(output),
        sum(reasoning), sum(unsplit), sum(unpriced), sum(part.cost), sum(part.cost_reported), sum(part.cost_computed)
    FROM gone
    CROSS JOIN LATERAL mission_dashboard_spend_parts(
        usage, model_used, input_tokens, output_tokens, tokens_used, cost_estimate, gone.cost_reported,
        gone.cost_computed
    ) AS part
    GROUP BY 1, 2
    ON CONFLICT (day, model)
    DO UPDATE SET
        input = mission_removed_spend.input + excluded.input,
        cached = mission_removed_spend.cached + excluded.cached,
        output = mission_removed_spend.output + excluded.output,
        reasoning = mission_removed_spend.reasoning + excluded.reasoning,
        unsplit = mission_removed_spend.unsplit + excluded.unsplit,
        unpriced = mission_removed_spend.unpriced + excluded.unpriced,
        cost = mission_removed_spend.cost + excluded.cost,
        cost_reported = mission_removed_spend.cost_reported + excluded.cost_reported,
        cost_computed = mission_removed_spend.cost_computed + excluded.cost_computed
),
told AS (
    INSERT INTO mission_removals (number, mission_ids, facets)
    SELECT removals + 1, ARRAY(SELECT id FROM gone), (SELECT jsonb_agg(to_jsonb(facets)) FROM facets)
    FROM mission_retention
    WHERE EXISTS (SELECT 1 FROM gone)
)
UPDATE mission_retention
SET events_from = greatest(events_from, (SELECT max(committed_in::text::bigint) + 1 FROM events)),
    removals = removals + CASE WHEN EXISTS (SELECT 1 FROM gone) THEN 1 ELSE 0 END,
    missions = missions + (SELECT count(*) FROM gone),
    events = events + (SELECT count(*) FROM events),
    logs = logs + (SELECT count(*) FROM logs),
    spans = spans + (SELECT count(*) FROM spans)
RETURNING
    (SELECT count(*) FROM gone), (SELECT count(*) FROM events), (SELECT count(*) FROM logs),
    (SELECT count(*) FROM spans);

-- name: remove_events
-- Delete the next events of transactions before one; return how many, and where to go on.
WITH old AS (
    SELECT ctid
    FROM mission_events
    WHERE committed_in >= :position::text::xid8
        AND committed_in < :before::text::xid8
    ORDER BY committed_in
    LIMIT :limit
),
gone AS (
    DELETE FROM mission_events
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM old))
    RETURNING committed_in
)
UPDATE mission_retention
SET events_from = greatest(events_from, (SELECT max(committed_in::text::bigint) + 1 FROM gone)),
    events = events + (SELECT count(*) FROM gone)
RETURNING (SELECT count(*) FROM gone), (SELECT max(committed_in::text::bigint) FROM gone);

-- name: remove_logs
-- The same for log lines.
WITH old AS (
    SELECT ctid
    FROM mission_logs
    WHERE committed_in >= :position::text::xid8
        AND committed_in < :before::text::xid8
    ORDER BY committed_in
    LIMIT :limit
),
gone AS (
    DELETE FROM mission_logs
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM old))
    RETURNING committed_in
)
UPDATE mission_retention
SET logs = logs + (SELECT count(*) FROM gone)
RETURNING (SELECT count(*) FROM gone), (SELECT max(committed_in::text::bigint) FROM gone);

-- name: remove_spans
-- The same for spans, save those of missions that are alive, whose tokens are summed from them.
WITH old AS (
    SELECT mission_spans.ctid
    FROM mission_spans
    WHERE committed_in >= :position::text::xid8
        AND committed_in < :before::text::xid8
        AND NOT EXISTS (
            SELECT 1
            FROM missions
            WHERE missions.id = mission_spans.mission_id
                AND missions.status IN ('pending', 'running')
        )
    ORDER BY committed_in
    LIMIT :limit
),
gone AS (
    DELETE FROM mission_spans
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM old))
    RETURNING committed_in
)
UPDATE mission_retention
SET spans = spans + (SELECT count(*) FROM gone)
RETURNING (SELECT count(*) FROM gone), (SELECT max(committed_in::text::bigint) FROM gone);

-- name: note_spans!
-- Remember which missions may have lost spans.
UPDATE mission_retention
SET spans_until = greatest(spans_until, :until),
    spans_at = greatest(spans_at, :at);

-- name: drop_old_removals!
-- Every server process has read these long ago.
DELETE FROM mission_removals
WHERE at < now() - interval '1 day';

-- name: count_due_missions
-- How many missions of a status finished before a moment, and the oldest end.
SELECT count(*), min(coalesce(completed_at, updated_at))
FROM missions
WHERE status = :status
    AND coalesce(completed_at, updated_at) < :before;

-- name: count_old_events
-- How many events came before a transaction, or belong to missions that are due.
SELECT count(*)
FROM mission_events
WHERE committed_in < :before::text::xid8
    OR mission_id IN (SELECT id FROM missions WHERE {due});

-- name: count_old_logs
-- The same for log lines.
SELECT count(*)
FROM mission_logs
WHERE committed_in < :before::text::xid8
    OR mission_id IN (SELECT id FROM missions WHERE {due});

-- name: count_old_spans
-- The same for spans.
SELECT count(*)
FROM mission_spans
WHERE (
        committed_in < :before::text::xid8
        AND NOT EXISTS (
            SELECT 1
            FROM missions
            WHERE missions.id = mission_spans.mission_id
                AND missions.status IN ('pending', 'running')
        )
    )
    OR mission_id IN (SELECT id FROM missions WHERE {due});

-- name: due_filter
-- The condition of the three above.
SELECT id
FROM missions
WHERE (status = 'completed' AND coalesce(completed_at, updated_at) < :completed)
    OR (status = 'failed' AND coalesce(completed_at, updated_at) < :failed)
    OR (status = 'cancelled' AND coalesce(completed_at, updated_at) < :cancelled);

-- name: table_sizes
-- What each table takes, with its indexes and what is stored out of line, the largest first.
SELECT relname, n_live_tup, n_dead_tup, pg_table_size(relid), pg_indexes_size(relid)
FROM pg_stat_user_tables
WHERE schemaname = (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'missions'::regclass)
ORDER BY pg_total_relation_size(relid) DESC, relname;

-- name: database_size
-- What the whole database takes.
SELECT pg_database_size(current_database());
