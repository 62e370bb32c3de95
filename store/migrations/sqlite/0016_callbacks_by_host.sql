-- The hosts to which callbacks are pending, and the first callbacks of each. Without it a look past a host that has no capacity reads
-- all that wait for that host.
CREATE INDEX callbacks_by_host ON callbacks (host, due_at) WHERE state = 0;
