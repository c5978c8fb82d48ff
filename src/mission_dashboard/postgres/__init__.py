"""PostgreSQL: the embedded server, and the store that keeps missions and events in it."""
