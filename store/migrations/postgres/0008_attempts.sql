-- Attempts that failed; one that completed is in the row of its request. Parts: 0 another attempt followed, 1 the
-- request failed with it. Times: milliseconds since 1970, UTC, by the worker's clock.
CREATE TABLE attempts (
    request_id uuid NOT NULL,
    run bigint NOT NULL,
    attempt bigint NOT NULL,
    part bigint NOT NULL,
    delivery bigint NOT NULL,
    worker text,
    began_at bigint,
    ended_at bigint,
    code text NOT NULL,
    message text NOT NULL,
    next_at bigint,
    PRIMARY KEY (request_id, run, attempt, part)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
