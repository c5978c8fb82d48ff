-- So many missions as a busy team would have after months: mostly finished, some failed, a few alive.
DROP INDEX IF EXISTS missions_by_search_text;
INSERT INTO missions (
    id, title, description, status, priority, created_at, updated_at, version, started_at, completed_at, duration,
    progress, metadata, mission_type, agent_type, model_used, tokens_used, cost_estimate
)
SELECT
    gen_random_uuid()::text,
    'Mission ' || number || ': ' || (ARRAY['index corpus', 'generate client', 'nightly report', 'health sweep'])[1 + number %% 4],
    'Seeded mission number ' || number,
    status,
    (ARRAY['low', 'medium', 'high', 'critical'])[1 + (number / 7) %% 4],
    at,
    at + interval '1 minute',
    4,
    CASE WHEN status <> 'pending' THEN at END,
    CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN at + interval '1 minute' END,
    CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN 60 END,
    CASE WHEN status = 'completed' THEN 100 ELSE 50 END,
    jsonb_build_object('type', type),
    type,
    (ARRAY['IntentRouter', 'RetrievalAgent', 'CodeAgent', 'MonitoringAgent', 'AnalyticsAgent'])[1 + (number / 5) %% 5],
    'mistral:7b-instruct',
    number %% 5000,
    (number %% 1000) / 1000.0
FROM (
    SELECT
        number,
        now() - interval '1 second' * (%(count)s - number) AS at,
        (ARRAY['document_processing', 'code_generation', 'system_monitoring', 'data_analysis'])[1 + (number / 3) %% 4]
            AS type,
        CASE
            WHEN number > %(count)s - 50 THEN 'running'
            WHEN number > %(count)s - 100 THEN 'pending'
            WHEN number %% 20 = 0 THEN 'failed'
            WHEN number %% 50 = 1 THEN 'cancelled'
            ELSE 'completed'
        END AS status
    FROM generate_series(1, %(count)s) AS number
) AS seeded;
CREATE INDEX missions_by_search_text ON missions USING gin (
    mission_search_text(title, description, mission_type, agent_type, model_used) gin_trgm_ops
) WITH (fastupdate = off);
SELECT mission_dashboard_recount();
