-- Where to tell of a request's end, and the host in it.
ALTER TABLE requests ADD COLUMN callback_url text, ADD COLUMN callback_host text;

-- What is to be told, from a request's end on. States: 0 pending, 1 delivered, 2 failed. No column has
-- the name of one of requests, so that both can be read together.
CREATE TABLE callbacks (
    request_id uuid PRIMARY KEY,
    state smallint NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 2),
    host text COLLATE "C" NOT NULL,
    of_run bigint NOT NULL,
    ended_at bigint NOT NULL,
    -- When the next attempt may begin. Whoever takes a callback puts this off, so that it is due again
    -- if nothing is heard of them.
    due_at bigint NOT NULL,
    -- Of whom is about to try; empty when nobody is.
    lease uuid,
    calls bigint NOT NULL DEFAULT 0,
    call_error text,
    delivered_at bigint
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX callbacks_by_due_at ON callbacks (due_at, host) WHERE state = 0;
