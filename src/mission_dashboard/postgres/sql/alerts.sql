-- name: look_at_events
-- Look at the events since the last look: fire, resolve, and queue what is to be told, all in one transaction. The
-- place is locked; a second process that looks at the same time finds nothing to do. Every event before `until` is
-- there to be seen, and none is seen twice.
WITH place AS (
    SELECT transaction AS since, pg_snapshot_xmin(pg_current_snapshot()) AS until
    FROM alert_place
    FOR UPDATE SKIP LOCKED
),
read AS (
    SELECT
        e.mission_id, e.version, e.type, e.at, e.changes, m.title, m.priority, m.error_message, m.agent_type,
        m.model_used, m.metadata ->> 'type' AS mission_type
    FROM place
    JOIN mission_events AS e ON e.committed_in >= place.since AND e.committed_in < place.until
    JOIN missions AS m ON m.id = e.mission_id
    WHERE e.type = ANY(:types) OR jsonb_exists(e.changes, 'stalled_reason')
),
happened AS (
    SELECT * FROM read WHERE type = ANY(:types)
    UNION ALL
    -- Any sign of life ends a silence, under whatever name it comes.
    SELECT
        mission_id, version, 'mission_recovered', at, changes, title, priority, error_message, agent_type, model_used,
        mission_type
    FROM read
    WHERE jsonb_exists(changes, 'stalled_reason') AND changes ->> 'stalled_reason' IS NULL
),
kinds AS (
    SELECT kind, type, cause, ends
    FROM json_to_recordset(:kinds::json) AS k (kind text, type text, cause text, ends text[])
),
wanted AS (
    SELECT
        r.id AS rule_id, r.name, r.kind, r.severity, r.cooldown_s, r.channels, h.mission_id, h.at,
        left(
            CASE r.kind
                WHEN 'failed' THEN 'failed: ' || coalesce(h.error_message, 'no error was told')
                WHEN 'stalled' THEN 'runs without a sign of life: ' || coalesce(h.changes ->> 'stalled_reason', '')
                WHEN 'over_budget' THEN 'was stopped: ' || coalesce(h.error_message, 'its budget is used up')
                WHEN 'cancel_unconfirmed' THEN 'was cancelled, but its agent does not acknowledge that and may still run'
                ELSE 'asks: ' || coalesce(h.changes -> 'question' ->> 'text', '')
            END, 500
        ) AS says,
        h.title,
        CASE WHEN k.ends IS NULL THEN 'noted'
            WHEN EXISTS (
                SELECT 1 FROM happened AS later
                WHERE later.mission_id = h.mission_id AND later.version > h.version AND later.type = ANY(k.ends)
            ) THEN 'resolved'
            ELSE 'firing'
        END AS state,
        row_number() OVER (PARTITION BY r.id, h.mission_id ORDER BY h.version DESC) AS newest,
        row_number() OVER (PARTITION BY r.id ORDER BY h.at, h.mission_id, h.version) AS place_in_rule
    FROM happened AS h
    JOIN kinds AS k ON k.type = h.type AND (k.cause IS NULL OR h.changes -> 'receipt' ->> 'cause' = k.cause)
    JOIN alert_rules AS r ON r.kind = k.kind AND r.is_on
        AND (r.types IS NULL OR h.mission_type = ANY(r.types))
        AND (r.agents IS NULL OR h.agent_type = ANY(r.agents))
        AND (r.models IS NULL OR h.model_used = ANY(r.models))
        AND (r.priorities IS NULL OR h.priority = ANY(r.priorities))
),
fired AS (
    INSERT INTO alert_firings (
        id, rule_id, rule_name, kind, severity, subject, mission_id, summary, state, is_quiet, fired_at, resolved_at
    )
    SELECT
        gen_random_uuid()::text, rule_id, name, kind, severity, mission_id, mission_id, title || ' ' || says, state,
        EXISTS (
            SELECT 1 FROM alert_silences AS s
            WHERE s.ends_at > now() AND (s.rule_id IS NULL OR s.rule_id = wanted.rule_id)
                AND (s.mission_id IS NULL OR s.mission_id = wanted.mission_id)
        )
        OR (cooldown_s > 0 AND (place_in_rule > 1 OR EXISTS (
            SELECT 1 FROM alert_firings AS f
            WHERE f.rule_id = wanted.rule_id AND NOT f.is_quiet
                AND f.fired_at > now() - make_interval(secs => wanted.cooldown_s)
        ))),
        at,
        CASE WHEN state = 'resolved' THEN now() END
    FROM wanted
    WHERE newest = 1
    ON CONFLICT (rule_id, subject) WHERE state = 'firing' DO NOTHING
    RETURNING id, rule_id, is_quiet
),
resolved AS (
    UPDATE alert_firings
    SET state = 'resolved', resolved_at = now()
    FROM (
        SELECT DISTINCT k.kind, h.mission_id
        FROM happened AS h
        JOIN kinds AS k ON h.type = ANY(k.ends)
    ) AS over
    WHERE alert_firings.state = 'firing' AND alert_firings.kind = over.kind
        AND alert_firings.mission_id = over.mission_id
    RETURNING alert_firings.id, alert_firings.rule_id, alert_firings.is_quiet
),
told AS (
    SELECT id, rule_id, is_quiet, 'fired' AS what FROM fired
    UNION ALL
    SELECT id, rule_id, is_quiet, 'resolved' FROM resolved
),
queued AS (
    INSERT INTO alert_deliveries (id, firing_id, channel_id, what, next_at, created_at)
    SELECT gen_random_uuid()::text, told.id, c.id, told.what, now(), now()
    FROM told
    JOIN alert_rules AS r ON r.id = told.rule_id
    JOIN alert_channels AS c ON c.id = ANY(r.channels) AND c.is_on
    WHERE NOT told.is_quiet
),
moved AS (
    -- Never backwards: who waited for the lock may see less than who had it before.
    UPDATE alert_place SET transaction = place.until FROM place WHERE place.until > place.since
)
SELECT id, what FROM told;

-- name: measures
-- What each rule about a measure finds now; nothing where there is nothing to measure.
SELECT
    r.id,
    CASE r.kind
        WHEN 'error_rate' THEN (
            SELECT CASE WHEN count(*) >= 5
                THEN 100.0 * count(*) FILTER (WHERE m.status = 'failed') / count(*) END
            FROM missions AS m
            WHERE m.completed_at > now() - make_interval(secs => r.window_s) AND m.status IN ('completed', 'failed')
                AND {filter}
        )
        WHEN 'slow' THEN (
            SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY m.duration)
            FROM missions AS m
            WHERE m.completed_at > now() - make_interval(secs => r.window_s) AND m.duration IS NOT NULL AND {filter}
        )
        WHEN 'cost' THEN (
            SELECT sum(m.cost_estimate)
            FROM missions AS m
            WHERE m.cost_estimate IS NOT NULL AND {filter}
                AND (m.completed_at > now() - make_interval(secs => r.window_s) OR m.status = 'running')
        )
        WHEN 'queue_age' THEN (
            SELECT extract(epoch FROM now() - min(m.created_at))
            FROM missions AS m
            WHERE m.status = 'pending' AND {filter}
        )
        WHEN 'silence' THEN (
            SELECT extract(epoch FROM now() - greatest(max(m.updated_at), r.created_at))
            FROM missions AS m
            WHERE m.created_at > now() - make_interval(secs => 10 * r.window_s) AND {filter}
        )
    END::double precision
FROM alert_rules AS r
WHERE r.is_on AND r.kind = ANY(:kinds);

-- name: note_measure
-- Fire or resolve one rule about a measure, and queue what is to be told.
WITH rule AS (
    SELECT * FROM alert_rules WHERE id = :rule_id AND is_on
),
fired AS (
    INSERT INTO alert_firings (
        id, rule_id, rule_name, kind, severity, subject, summary, value, state, is_quiet, fired_at
    )
    SELECT
        gen_random_uuid()::text, rule.id, rule.name, rule.kind, rule.severity, 'all', :summary, :value, 'firing',
        EXISTS (
            SELECT 1 FROM alert_silences AS s
            WHERE s.ends_at > now() AND s.mission_id IS NULL AND (s.rule_id IS NULL OR s.rule_id = rule.id)
        )
        OR EXISTS (
            SELECT 1 FROM alert_firings AS f
            WHERE f.rule_id = rule.id AND NOT f.is_quiet
                AND f.fired_at > now() - make_interval(secs => rule.cooldown_s)
        ),
        now()
    FROM rule
    WHERE :is_over
    ON CONFLICT (rule_id, subject) WHERE state = 'firing' DO NOTHING
    RETURNING id, is_quiet
),
resolved AS (
    UPDATE alert_firings SET state = 'resolved', resolved_at = now()
    FROM rule
    WHERE NOT :is_over AND alert_firings.rule_id = rule.id AND alert_firings.state = 'firing'
    RETURNING alert_firings.id, alert_firings.is_quiet
),
told AS (
    SELECT id, is_quiet, 'fired' AS what FROM fired
    UNION ALL
    SELECT id, is_quiet, 'resolved' FROM resolved
),
queued AS (
    INSERT INTO alert_deliveries (id, firing_id, channel_id, what, next_at, created_at)
    SELECT gen_random_uuid()::text, told.id, c.id, told.what, now(), now()
    FROM told
    CROSS JOIN rule
    JOIN alert_channels AS c ON c.id = ANY(rule.channels) AND c.is_on
    WHERE NOT told.is_quiet
)
SELECT id, what FROM told;

-- name: take_deliveries
-- Lease what is due: whoever dies with it leaves it to be sent again after a minute.
UPDATE alert_deliveries AS d
SET tries = d.tries + 1, next_at = now() + interval '60 seconds'
FROM (
    SELECT id FROM alert_deliveries
    WHERE state = 'waiting' AND next_at <= now()
    ORDER BY next_at
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
) AS due
WHERE d.id = due.id
RETURNING d.id, d.firing_id, d.channel_id, d.what, d.tries;

-- name: sent!
UPDATE alert_deliveries SET state = 'sent', sent_at = now(), problem = NULL WHERE id = :id;

-- name: not_sent!
UPDATE alert_deliveries
SET state = CASE WHEN :is_dead THEN 'dead' ELSE 'waiting' END,
    next_at = now() + make_interval(secs => :wait_s),
    problem = :problem
WHERE id = :id;

-- name: send_again
UPDATE alert_deliveries SET state = 'waiting', tries = 0, next_at = now() WHERE id = :id AND state = 'dead'
RETURNING 1;

-- name: queue_test!
INSERT INTO alert_deliveries (id, firing_id, channel_id, what, next_at, created_at)
VALUES (:id, '', :channel_id, 'test', now(), now());

-- name: deliveries
SELECT d.id, d.firing_id, d.channel_id, coalesce(c.name, '(deleted)'), d.what, d.state, d.tries, d.next_at,
    d.created_at, d.sent_at, d.problem
FROM alert_deliveries AS d
LEFT JOIN alert_channels AS c ON c.id = d.channel_id
WHERE (:state::text IS NULL OR d.state = :state)
ORDER BY d.created_at DESC, d.id DESC
LIMIT :limit;

-- name: firings
SELECT id, rule_id, rule_name, kind, severity, mission_id, summary, value, state, is_quiet, fired_at, resolved_at,
    acknowledged_at, acknowledged_by
FROM alert_firings
WHERE (:id::text IS NULL OR id = :id)
    AND (:is_open::boolean IS NULL OR :is_open = (state <> 'resolved' AND acknowledged_at IS NULL))
ORDER BY fired_at DESC, id DESC
LIMIT :limit;

-- name: acknowledge
UPDATE alert_firings
SET acknowledged_at = coalesce(acknowledged_at, now()), acknowledged_by = coalesce(acknowledged_by, :by)
WHERE id = :id
RETURNING 1;

-- name: channels
SELECT id, name, kind, target, secret, is_on, created_at FROM alert_channels ORDER BY name;

-- name: put_channel!
INSERT INTO alert_channels (id, name, kind, target, secret, is_on, created_at)
VALUES (:id, :name, :kind, :target, :secret, :is_on, now());

-- name: drop_channel
WITH forgotten AS (
    UPDATE alert_rules SET channels = array_remove(channels, :id) WHERE :id = ANY(channels)
),
unsent AS (
    UPDATE alert_deliveries SET state = 'dead', problem = 'its channel was deleted'
    WHERE channel_id = :id AND state = 'waiting'
)
DELETE FROM alert_channels WHERE id = :id RETURNING 1;

-- name: rules
SELECT id, name, kind, types, agents, models, priorities, threshold, window_s, cooldown_s, severity, channels, is_on
FROM alert_rules
ORDER BY name;

-- name: put_rule!
INSERT INTO alert_rules (
    id, name, kind, types, agents, models, priorities, threshold, window_s, cooldown_s, severity, channels, is_on,
    created_at
)
VALUES (
    :id, :name, :kind, :types, :agents, :models, :priorities, :threshold, :window_s, :cooldown_s, :severity, :channels,
    :is_on, now()
)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name, kind = excluded.kind, types = excluded.types, agents = excluded.agents,
    models = excluded.models, priorities = excluded.priorities, threshold = excluded.threshold,
    window_s = excluded.window_s, cooldown_s = excluded.cooldown_s, severity = excluded.severity,
    channels = excluded.channels, is_on = excluded.is_on;

-- name: drop_rule
WITH over AS (
    UPDATE alert_firings SET state = 'resolved', resolved_at = now() WHERE rule_id = :id AND state = 'firing'
)
DELETE FROM alert_rules WHERE id = :id RETURNING 1;

-- name: silences
SELECT id, rule_id, mission_id, reason, created_by, created_at, ends_at
FROM alert_silences
WHERE ends_at > now()
ORDER BY ends_at;

-- name: put_silence
INSERT INTO alert_silences (id, rule_id, mission_id, reason, created_by, created_at, ends_at)
VALUES (:id, :rule_id, :mission_id, :reason, :by, now(), now() + make_interval(secs => :seconds))
RETURNING id, rule_id, mission_id, reason, created_by, created_at, ends_at;

-- name: drop_silence
DELETE FROM alert_silences WHERE id = :id RETURNING 1;

-- name: forget_alerts!
-- Alerts that are over, and what was told of them, are kept for 90 days.
WITH told AS (
    DELETE FROM alert_deliveries WHERE created_at < now() - interval '90 days' AND state <> 'waiting'
),
quiet AS (
    DELETE FROM alert_silences WHERE ends_at < now() - interval '90 days'
)
DELETE FROM alert_firings WHERE fired_at < now() - interval '90 days' AND state <> 'firing';
