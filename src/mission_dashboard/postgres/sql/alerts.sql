-- name: alert_lock
-- Whether this transaction is the one that evaluates now. It takes no transaction id, which would hold the horizon back.
SELECT pg_try_advisory_xact_lock(1297700933, 1);

-- name: alert_place
SELECT
    transaction, mission_id, version, measured_at, seen::text, pg_current_snapshot()::text,
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint, EXISTS (SELECT 1 FROM alert_rules WHERE enabled)
FROM alert_cursor;

-- name: forget_alert_transactions!
-- After a restore into another cluster: its transaction ids mean nothing here.
UPDATE alert_rules SET active_from = 0;

-- name: move_alert_place!
UPDATE alert_cursor
SET seen = :seen, transaction = pg_snapshot_xmin(:seen::pg_snapshot)::text::bigint, mission_id = '', version = 0;

-- name: alert_measured!
UPDATE alert_cursor SET measured_at = :at;

-- name: alert_events
-- What can be seen in one snapshot and not in an earlier one, from a place on, with the missions as they are now.
WITH watched AS (
    (
        SELECT mission_id, version, type, at, changes, committed_in
        FROM mission_events AS e
        WHERE committed_in >= pg_snapshot_xmax(:seen::pg_snapshot) AND {watched}
        ORDER BY committed_in, mission_id, version
        LIMIT :limit
    )
    UNION ALL
    SELECT e.mission_id, e.version, e.type, e.at, e.changes, e.committed_in
    FROM (SELECT pg_snapshot_xip(:seen::pg_snapshot) AS xid) AS open_then
    CROSS JOIN LATERAL (
        SELECT mission_id, version, type, at, changes, committed_in
        FROM mission_events AS e
        WHERE committed_in = open_then.xid AND {watched}
        ORDER BY mission_id, version
        LIMIT :limit
    ) AS e
)
SELECT
    e.committed_in::text::bigint, e.mission_id, e.version, e.type, e.at, e.changes ->> 'budget_state',
    m.title, m.mission_type, m.agent_type, m.model_used, m.priority, m.error_message, m.stalled_reason,
    m.question ->> 'text', m.retry_of, (m.receipt ->> 'unconfirmed')::boolean,
    e.changes ? 'stalled_reason' AND e.changes ->> 'stalled_reason' IS NULL
FROM watched AS e
JOIN missions AS m ON m.id = e.mission_id
ORDER BY e.committed_in, e.mission_id, e.version
LIMIT :limit;

-- name: rule_rows
SELECT
    id::text, name, signal, filter, threshold, window_s, cooldown_s, min_count, severity, resolves, notify_resolved,
    enabled, channels::text[], created_at, active_from
FROM alert_rules
ORDER BY name;

-- name: put_rule
-- A rule that is new or on again sees only what comes; what one found that is off, or about something else, ends.
WITH ended AS (
    UPDATE alert_firings
    SET resolved_at = now()
    WHERE rule_id = :id
        AND resolved_at IS NULL
        AND (NOT :enabled OR EXISTS (SELECT 1 FROM alert_rules WHERE id = :id AND signal <> :signal))
)
INSERT INTO alert_rules (
    id, name, signal, filter, threshold, window_s, cooldown_s, min_count, severity, resolves, notify_resolved, enabled,
    channels
)
VALUES (
    :id, :name, :signal, :filter, :threshold, :window_s, :cooldown_s, :min_count, :severity, :resolves,
    :notify_resolved, :enabled, :channels::uuid[]
)
ON CONFLICT (id)
DO UPDATE SET
    name = excluded.name,
    signal = excluded.signal,
    filter = excluded.filter,
    threshold = excluded.threshold,
    window_s = excluded.window_s,
    cooldown_s = excluded.cooldown_s,
    min_count = excluded.min_count,
    severity = excluded.severity,
    resolves = excluded.resolves,
    notify_resolved = excluded.notify_resolved,
    enabled = excluded.enabled,
    channels = excluded.channels,
    active_from = CASE
        WHEN alert_rules.enabled AND alert_rules.signal = excluded.signal THEN alert_rules.active_from
        ELSE excluded.active_from END
RETURNING created_at, active_from;

-- name: drop_rule
-- What it found stays in the list, ended.
WITH ended AS (UPDATE alert_firings SET resolved_at = now() WHERE rule_id = :id AND resolved_at IS NULL)
DELETE FROM alert_rules WHERE id = :id
RETURNING 1;

-- name: channel_rows
SELECT id::text, name, kind, config, enabled, created_at
FROM alert_channels
ORDER BY name;

-- name: put_channel
INSERT INTO alert_channels (id, name, kind, config, enabled)
VALUES (:id, :name, :kind, :config, :enabled)
ON CONFLICT (id)
DO UPDATE SET name = excluded.name, config = excluded.config, enabled = excluded.enabled
RETURNING created_at;

-- name: drop_channel
-- Rules that name it name it no longer.
WITH named AS (
    UPDATE alert_rules SET channels = array_remove(channels, :id::uuid) WHERE :id::uuid = ANY(channels)
)
DELETE FROM alert_channels WHERE id = :id
RETURNING 1;

-- name: silence_rows
SELECT id::text, rule_id::text, mission_id, filter, reason, created_by, created_at, ends_at
FROM alert_silences
WHERE ends_at > :at
ORDER BY ends_at, id;

-- name: put_silence
INSERT INTO alert_silences (id, rule_id, mission_id, filter, reason, created_by, ends_at)
VALUES (:id, :rule_id, :mission_id, :filter, :reason, :created_by, :ends_at)
RETURNING created_at;

-- name: drop_silence
DELETE FROM alert_silences WHERE id = :id
RETURNING 1;

-- name: open_firings
SELECT {firing}
FROM alert_firings
WHERE resolved_at IS NULL
ORDER BY fired_at DESC, id DESC
LIMIT :limit;

-- name: firing_rows
-- All firings, newest first, after one of them.
SELECT {firing}
FROM alert_firings
WHERE :after_at::timestamptz IS NULL OR (fired_at, id) < (:after_at, :after_id::uuid)
ORDER BY fired_at DESC, id DESC
LIMIT :limit;

-- name: firing_row
SELECT {firing} FROM alert_firings WHERE id = :id;

-- name: last_firings
-- Each rule's newest firing.
SELECT {firing}
FROM alert_rules
CROSS JOIN LATERAL (
    SELECT * FROM alert_firings WHERE rule_id = alert_rules.id ORDER BY fired_at DESC, id DESC LIMIT 1
) AS alert_firings
WHERE alert_rules.id = ANY(:rules::uuid[]);

-- name: open_of_missions
-- What is still open because of these missions.
SELECT {firing}
FROM alert_firings
WHERE resolved_at IS NULL AND missions && :missions;

-- name: silenced_firings
-- What was held back by a silence, and nobody has seen to, with what silences ask of its mission.
SELECT {firing}, missions.mission_type, missions.agent_type, missions.model_used, missions.priority
FROM alert_firings
LEFT JOIN missions ON missions.id = alert_firings.mission_id
WHERE resolved_at IS NULL AND silenced_by <> '{}' AND acknowledged_at IS NULL;

-- name: quiet_firings
-- What happened once and can be told of no further: old, and nobody was needed any more.
SELECT {firing}
FROM alert_firings
JOIN alert_rules ON alert_rules.id = rule_id AND alert_rules.resolves
WHERE resolved_at IS NULL AND last_at < :before AND alert_firings.signal = ANY(:signals)
LIMIT 100;

-- name: end_stray_firings!
-- A rule that was switched off or deleted while it was evaluated may have found something after its end.
UPDATE alert_firings SET resolved_at = :at
WHERE resolved_at IS NULL
    AND NOT EXISTS (
        SELECT 1
        FROM alert_rules
        WHERE alert_rules.id = rule_id AND alert_rules.enabled AND alert_rules.signal = alert_firings.signal
    );

-- name: put_firing!
-- Who looks after it does so of what it is about: where it lives on for another mission, nobody has seen to that one.
INSERT INTO alert_firings (
    id, rule_id, rule_name, signal, severity, summary, mission_id, missions, value, threshold, count, fired_at,
    last_at, resolved_at, acknowledged_at, acknowledged_by, silenced_by
)
VALUES (
    :id, :rule_id, :rule_name, :signal, :severity, :summary, :mission_id, :missions, :value, :threshold, :count,
    :fired_at, :last_at, :resolved_at, :acknowledged_at, :acknowledged_by, :silenced_by
)
ON CONFLICT (id)
DO UPDATE SET
    summary = excluded.summary,
    mission_id = excluded.mission_id,
    acknowledged_at = CASE
        WHEN alert_firings.mission_id IS NOT DISTINCT FROM excluded.mission_id THEN alert_firings.acknowledged_at END,
    acknowledged_by = CASE
        WHEN alert_firings.mission_id IS NOT DISTINCT FROM excluded.mission_id THEN alert_firings.acknowledged_by END,
    missions = excluded.missions,
    value = excluded.value,
    count = excluded.count,
    last_at = excluded.last_at,
    resolved_at = excluded.resolved_at,
    silenced_by = excluded.silenced_by;

-- name: acknowledge_firing
UPDATE alert_firings
SET acknowledged_at = coalesce(acknowledged_at, :at),
    acknowledged_by = coalesce(acknowledged_by, :by)
WHERE id = :id
RETURNING {firing};

-- name: resolve_firing
UPDATE alert_firings SET resolved_at = coalesce(resolved_at, :at) WHERE id = :id
RETURNING {firing};

-- name: firing_summary
-- How many are open by severity, and what tells that something changed.
SELECT
    count(*), count(*) FILTER (WHERE acknowledged_at IS NULL AND silenced_by = '{}'),
    count(*) FILTER (WHERE severity = 'critical' AND acknowledged_at IS NULL AND silenced_by = '{}'),
    max(last_at)
FROM alert_firings
WHERE resolved_at IS NULL;

-- name: forget_firings!
-- What ended long ago goes, with its deliveries.
WITH silences AS (DELETE FROM alert_silences WHERE ends_at < :before)
DELETE FROM alert_firings
WHERE id IN (SELECT id FROM alert_firings WHERE resolved_at < :before LIMIT 1000);

-- name: add_delivery!
INSERT INTO alert_deliveries (id, firing_id, channel_id, kind, created_at, due_at)
VALUES (:id, :firing_id, :channel_id, :kind, :at, :at)
ON CONFLICT (firing_id, channel_id, kind) DO NOTHING;

-- name: lease_deliveries
-- Take what is due; who dies with it leaves it due again when the lease ends. Not for channels that are busy, and the
-- end of an alert not before its beginning arrived or was given up: the last word would be that it goes on.
WITH due AS (
    SELECT id
    FROM alert_deliveries AS d
    WHERE delivered_at IS NULL AND dead_at IS NULL AND due_at <= :at AND NOT channel_id = ANY(:busy::uuid[])
        AND NOT (
            kind = 'resolved'
            AND EXISTS (
                SELECT 1
                FROM alert_deliveries AS began
                WHERE began.firing_id = d.firing_id AND began.channel_id = d.channel_id AND began.kind = 'firing'
                    AND began.delivered_at IS NULL AND began.dead_at IS NULL
            )
        )
    ORDER BY due_at, id
    LIMIT :limit
    FOR UPDATE OF d SKIP LOCKED
),
leased AS (
    UPDATE alert_deliveries SET due_at = :until, attempts = attempts + 1
    WHERE id IN (SELECT id FROM due)
    RETURNING id, firing_id, channel_id, kind, attempts
)
SELECT leased.id::text, leased.kind, leased.attempts, c.id::text, c.name, c.kind, c.config, c.enabled, c.created_at,
    {firing}
FROM leased
JOIN alert_channels AS c ON c.id = leased.channel_id
JOIN alert_firings ON alert_firings.id = leased.firing_id;

-- name: delivered!
UPDATE alert_deliveries SET delivered_at = :at, last_error = NULL WHERE id = :id;

-- name: delivery_failed!
UPDATE alert_deliveries SET due_at = :due_at, last_error = :error WHERE id = :id;

-- name: delivery_dead!
UPDATE alert_deliveries SET dead_at = :at, last_error = :error WHERE id = :id;

-- name: delivery_rows
-- Deliveries in a state, newest first.
SELECT d.id::text, d.firing_id::text, f.summary, c.name, c.kind, d.kind, d.created_at, d.due_at, d.attempts,
    d.delivered_at, d.dead_at, d.last_error
FROM alert_deliveries AS d
JOIN alert_channels AS c ON c.id = d.channel_id
JOIN alert_firings AS f ON f.id = d.firing_id
WHERE CASE :state
    WHEN 'dead' THEN d.dead_at IS NOT NULL
    WHEN 'waiting' THEN d.dead_at IS NULL AND d.delivered_at IS NULL
    WHEN 'delivered' THEN d.delivered_at IS NOT NULL
    ELSE true END
ORDER BY d.created_at DESC, d.id DESC
LIMIT :limit;

-- name: undelivered
-- How many wait, and how many were given up; each has an index of its own.
SELECT
    (SELECT count(*) FROM alert_deliveries WHERE delivered_at IS NULL AND dead_at IS NULL),
    (SELECT count(*) FROM alert_deliveries WHERE dead_at IS NOT NULL);

-- name: resend_delivery
-- Try a dead letter anew, with all its tries.
UPDATE alert_deliveries SET dead_at = NULL, attempts = 0, due_at = :at
WHERE id = :id AND dead_at IS NOT NULL
RETURNING 1;

-- name: has_delivery
SELECT dead_at IS NOT NULL FROM alert_deliveries WHERE id = :id;

-- name: measure_duration_p95
-- Seconds that the slowest twentieth of those that ended well took at least, and how many there were.
SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY duration), count(*)
FROM missions
WHERE completed_at >= :since AND status = 'completed' AND duration IS NOT NULL AND {filter};

-- name: measure_slow
-- How many run longer than 95% of those of their type that ended well in the window; types with few are not judged.
WITH usual AS (
    SELECT coalesce(mission_type, '') AS kind, percentile_cont(0.95) WITHIN GROUP (ORDER BY duration) AS p95
    FROM missions
    WHERE completed_at >= :since AND status = 'completed' AND duration IS NOT NULL
    GROUP BY 1
    HAVING count(*) >= :min_count
)
SELECT count(*), :min_count::bigint
FROM missions
JOIN usual ON usual.kind = coalesce(mission_type, '')
WHERE status = 'running' AND extract(epoch FROM :at - started_at) > usual.p95 AND {filter};

-- name: measure_error_rate
-- The share of failures among those that ended well or badly in the window, in percent.
SELECT 100.0::float8 * count(*) FILTER (WHERE status = 'failed') / nullif(count(*), 0), count(*)
FROM missions
WHERE completed_at >= :since AND status IN ('completed', 'failed') AND {filter};

-- name: measure_cost_per_hour
-- US dollars an hour: by the minute in which they were reported, of which the window may have a part, or with a filter
-- those of the missions that finished.
SELECT
    CASE WHEN :is_filtered
        THEN (
            SELECT coalesce(sum(cost_estimate), 0) FROM missions WHERE completed_at >= :since AND {filter}
        )
        ELSE (
            SELECT coalesce(sum(cost * least(1, extract(epoch FROM minute - :since) / 60 + 1)), 0)::float8
            FROM mission_minutes
            WHERE minute > :since::timestamptz - interval '1 minute'
        )
    END * 3600 / :window_s,
    :min_count::bigint;

-- name: measure_queue_age
-- How many seconds the oldest pending mission waits.
SELECT extract(epoch FROM :at - min(created_at))::float8, :min_count::bigint
FROM missions
WHERE status = 'pending' AND {filter};

-- name: measure_silence
-- Seconds since anything was heard of any mission.
SELECT extract(epoch FROM :at - greatest(max(heard), :rule_since::timestamptz))::float8, :min_count::bigint
FROM (
    (SELECT created_at AS heard FROM missions WHERE {filter} ORDER BY created_at DESC LIMIT 1)
    UNION ALL
    (SELECT completed_at FROM missions WHERE completed_at IS NOT NULL AND {filter} ORDER BY completed_at DESC LIMIT 1)
    UNION ALL
    SELECT max(greatest(heartbeat_at, updated_at)) FROM missions WHERE status = 'running' AND {filter}
) AS signs;

-- name: measure_count
-- How many missions there are in these states now, or came to them in the window.
SELECT count(*)::float8, :min_count::bigint
FROM missions
WHERE status = ANY(:statuses) AND (completed_at >= :since OR status IN ('pending', 'running')) AND {filter};
