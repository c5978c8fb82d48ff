-- Which server process wrote a row, by the counter shard it holds: each process reads what the others wrote.
-- Empty for what was written before; every process loads that at its start.
ALTER TABLE mission_events ADD COLUMN shard smallint;
ALTER TABLE mission_logs ADD COLUMN shard smallint;
ALTER TABLE mission_spans ADD COLUMN shard smallint;
