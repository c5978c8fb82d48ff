-- What the rules have seen is a snapshot: a transaction that stays open holds back what it writes itself, and no more.
ALTER TABLE alert_cursor ADD COLUMN seen pg_snapshot;
UPDATE alert_cursor SET seen = (transaction || ':' || transaction || ':')::pg_snapshot;
ALTER TABLE alert_cursor ALTER COLUMN seen SET NOT NULL;
