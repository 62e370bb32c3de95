-- Attempts that failed; one that completed is in the row of its request. Parts: 0 another attempt followed, 1 the
-- request failed with it. Times: milliseconds since 1970, UTC, by the worker's clock.
CREATE TABLE attempts (
    request_id BLOB NOT NULL,
    run INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    part INTEGER NOT NULL,
    delivery INTEGER NOT NULL,
    worker TEXT,
    began_at INTEGER,
    ended_at INTEGER,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    next_at INTEGER,
    PRIMARY KEY (request_id, run, attempt, part)
) STRICT, WITHOUT ROWID;
