-- The text in which a search looks, and an index over its trigrams where the server has pg_trgm.

CREATE FUNCTION mission_search_text(
    title text, description text, mission_type text, agent_type text, model_used text
) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lower(title || ' ' || left(coalesce(description, ''), 1000) || ' ' || coalesce(mission_type, '') || ' '
        || coalesce(agent_type, '') || ' ' || coalesce(model_used, ''))
$$;

DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    -- Without fastupdate: its pending list is emptied by whichever write fills it, a stall of 100 ms and more.
    EXECUTE 'CREATE INDEX missions_by_search_text ON missions USING gin (
        mission_search_text(title, description, mission_type, agent_type, model_used) gin_trgm_ops
    ) WITH (fastupdate = off)';
EXCEPTION
    WHEN insufficient_privilege OR undefined_file OR feature_not_supported OR undefined_object THEN
        RAISE NOTICE 'pg_trgm is not available: search reads the table instead of an index';
END $$;
