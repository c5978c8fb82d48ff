-- Missions as the domain knows them: aware times, 64-bit tokens, versions, and constraints that refuse what the
-- domain refuses. Values of older rows that break a rule are mended, and kept as they were in metadata.legacy.

ALTER TABLE missions
    ALTER COLUMN id TYPE text COLLATE "C",
    ALTER COLUMN status TYPE text,
    ALTER COLUMN priority TYPE text,
    ALTER COLUMN agent_type TYPE text,
    ALTER COLUMN model_used TYPE text,
    ALTER COLUMN created_at TYPE timestamptz USING created_at AT TIME ZONE 'UTC',
    ALTER COLUMN started_at TYPE timestamptz USING started_at AT TIME ZONE 'UTC',
    ALTER COLUMN completed_at TYPE timestamptz USING completed_at AT TIME ZONE 'UTC',
    ALTER COLUMN tokens_used TYPE bigint,
    ADD COLUMN version bigint NOT NULL DEFAULT 1,
    ADD COLUMN updated_at timestamptz,
    ADD COLUMN parent_id text COLLATE "C",
    ADD COLUMN retry_of text COLLATE "C",
    ADD COLUMN step text,
    ADD COLUMN input_tokens bigint,
    ADD COLUMN output_tokens bigint,
    ADD COLUMN heartbeat_at timestamptz,
    ADD COLUMN budget jsonb,
    ADD COLUMN finish_digest text,
    ADD COLUMN mission_type text;

WITH broken AS (
    SELECT
        id,
        jsonb_strip_nulls(jsonb_build_object(
            'metadata', CASE WHEN jsonb_typeof(metadata) <> 'object' AND metadata <> 'null' THEN metadata END,
            'title', CASE WHEN char_length(title) NOT BETWEEN 1 AND 500 THEN title END,
            'status', CASE
                WHEN status NOT IN ('pending', 'running', 'completed', 'failed', 'cancelled') THEN status END,
            'priority', CASE WHEN priority NOT IN ('low', 'medium', 'high', 'critical') THEN priority END,
            'progress', CASE WHEN progress < 0 OR progress > 100 THEN progress::text END,
            'duration', CASE WHEN duration < 0 OR duration >= 'infinity' THEN duration::text END,
            'tokens_used', CASE WHEN tokens_used < 0 THEN tokens_used END,
            'cost_estimate', CASE
                WHEN cost_estimate < 0 OR cost_estimate >= 'infinity' THEN cost_estimate::text END,
            'created_at', CASE WHEN NOT isfinite(created_at) THEN created_at::text END,
            'started_at', CASE WHEN NOT isfinite(started_at) THEN started_at::text END,
            'completed_at', CASE WHEN NOT isfinite(completed_at) THEN completed_at::text END
        )) AS was
    FROM missions
)
UPDATE missions
SET metadata = (CASE WHEN jsonb_typeof(metadata) = 'object' THEN metadata ELSE '{}' END)
    || CASE WHEN broken.was = '{}' THEN '{}' ELSE jsonb_build_object('legacy', broken.was) END
FROM broken
WHERE broken.id = missions.id
    AND (broken.was <> '{}' OR metadata IS NULL OR jsonb_typeof(metadata) <> 'object');

UPDATE missions
SET title = CASE WHEN title = '' THEN '(no title)' ELSE left(title, 500) END,
    status = CASE
        WHEN lower(btrim(status)) IN ('pending', 'running', 'completed', 'failed', 'cancelled')
            THEN lower(btrim(status))
        WHEN lower(btrim(status)) = 'canceled' THEN 'cancelled'
        ELSE 'failed' END,
    priority = CASE
        WHEN lower(btrim(priority)) IN ('low', 'medium', 'high', 'critical') THEN lower(btrim(priority))
        ELSE 'medium' END,
    -- NaN counts as greater than every number.
    progress = CASE
        WHEN progress IS NULL OR progress < 0 OR progress = 'NaN' THEN 0
        WHEN progress > 100 THEN 100
        ELSE progress END,
    duration = CASE WHEN duration >= 0 AND duration < 'infinity' THEN duration END,
    tokens_used = CASE WHEN tokens_used >= 0 THEN tokens_used END,
    cost_estimate = CASE WHEN cost_estimate >= 0 AND cost_estimate < 'infinity' THEN cost_estimate END,
    created_at = CASE WHEN isfinite(created_at) THEN created_at ELSE 'epoch' END,
    started_at = CASE WHEN isfinite(started_at) THEN started_at END,
    completed_at = CASE WHEN isfinite(completed_at) THEN completed_at END
WHERE char_length(title) NOT BETWEEN 1 AND 500
    OR status NOT IN ('pending', 'running', 'completed', 'failed', 'cancelled')
    OR priority NOT IN ('low', 'medium', 'high', 'critical')
    OR progress IS NULL OR progress < 0 OR progress > 100
    OR duration < 0 OR duration >= 'infinity'
    OR tokens_used < 0
    OR cost_estimate < 0 OR cost_estimate >= 'infinity'
    OR NOT isfinite(created_at) OR NOT isfinite(started_at) OR NOT isfinite(completed_at);

UPDATE missions
SET mission_type = CASE WHEN jsonb_typeof(metadata -> 'type') = 'string' THEN metadata ->> 'type' END,
    updated_at = greatest(created_at, started_at, completed_at);

ALTER TABLE missions
    ALTER COLUMN progress SET DEFAULT 0,
    ALTER COLUMN progress SET NOT NULL,
    ALTER COLUMN metadata SET DEFAULT '{}',
    ALTER COLUMN metadata SET NOT NULL,
    ALTER COLUMN updated_at SET NOT NULL,
    ADD CONSTRAINT missions_status_known
        CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    ADD CONSTRAINT missions_priority_known CHECK (priority IN ('low', 'medium', 'high', 'critical')),
    ADD CONSTRAINT missions_title_fits CHECK (char_length(title) BETWEEN 1 AND 500),
    ADD CONSTRAINT missions_progress_is_percent CHECK (progress BETWEEN 0 AND 100),
    ADD CONSTRAINT missions_duration_is_finite CHECK (duration >= 0 AND duration < 'infinity'),
    ADD CONSTRAINT missions_tokens_not_negative
        CHECK (tokens_used >= 0 AND input_tokens >= 0 AND output_tokens >= 0),
    ADD CONSTRAINT missions_cost_is_finite CHECK (cost_estimate >= 0 AND cost_estimate < 'infinity'),
    ADD CONSTRAINT missions_version_positive CHECK (version >= 1),
    ADD CONSTRAINT missions_metadata_is_object CHECK (jsonb_typeof(metadata) = 'object'),
    -- Room for progress updates on the same page, so that they touch no index (heap-only tuples).
    SET (fillfactor = 75);

-- A finished mission never changes its outcome, whoever writes.
CREATE FUNCTION missions_refuse_new_outcome() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'mission % has finished as % and cannot become %', OLD.id, OLD.status, NEW.status
        USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER missions_outcome_is_final
    BEFORE UPDATE OF status ON missions
    FOR EACH ROW
    WHEN (OLD.status IN ('completed', 'failed', 'cancelled') AND NEW.status <> OLD.status)
    EXECUTE FUNCTION missions_refuse_new_outcome();

-- Serves the list: newest first within each status.
CREATE INDEX missions_by_status ON missions (status, created_at DESC, id DESC);
-- Serves the duration percentiles of the last hour and the order by end.
CREATE INDEX missions_by_completion ON missions (completed_at DESC) WHERE completed_at IS NOT NULL;
-- Serves the list of a mission's parts.
CREATE INDEX missions_by_parent ON missions (parent_id, created_at DESC) WHERE parent_id IS NOT NULL;

ALTER TABLE mission_metrics
    ALTER COLUMN timestamp TYPE timestamptz USING timestamp AT TIME ZONE 'UTC',
    ALTER COLUMN total_missions TYPE bigint,
    ALTER COLUMN completed_missions TYPE bigint,
    ALTER COLUMN failed_missions TYPE bigint,
    ALTER COLUMN running_missions TYPE bigint,
    ALTER COLUMN total_tokens TYPE bigint;

CREATE INDEX mission_metrics_by_time ON mission_metrics (timestamp);
