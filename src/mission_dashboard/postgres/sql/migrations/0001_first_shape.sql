-- The shape in which older installations already hold their missions. A new database starts from it too, so that
-- there is one way to today's shape and it is walked at every new installation.

CREATE TABLE IF NOT EXISTS missions (
    id            varchar(255) PRIMARY KEY,
    title         text NOT NULL,
    description   text,
    status        varchar(50) NOT NULL,
    priority      varchar(50) NOT NULL,
    created_at    timestamp NOT NULL,
    started_at    timestamp,
    completed_at  timestamp,
    duration      double precision,
    progress      double precision DEFAULT 0.0,
    error_message text,
    result        jsonb,
    metadata      jsonb,
    agent_type    varchar(100),
    model_used    varchar(100),
    tokens_used   integer,
    cost_estimate double precision
);

CREATE TABLE IF NOT EXISTS mission_metrics (
    id                 serial PRIMARY KEY,
    timestamp          timestamp NOT NULL,
    total_missions     integer,
    completed_missions integer,
    failed_missions    integer,
    running_missions   integer,
    average_duration   double precision,
    success_rate       double precision,
    total_tokens       integer,
    total_cost         double precision
);
