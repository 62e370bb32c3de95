-- Where to tell of a request's end, and the host in it. Columns can only be added behind the payloads,
-- where it costs a walk over their pages to read them; so the table is made anew.
CREATE TABLE new_requests (
    id BLOB NOT NULL PRIMARY KEY,
    status INTEGER NOT NULL DEFAULT 0 CHECK (status BETWEEN 0 AND 3),
    type TEXT NOT NULL DEFAULT 'default',
    owner TEXT,
    run INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    deliveries INTEGER NOT NULL DEFAULT 0,
    -- Empty as long as only a result or an event has come, and not yet the request itself.
    accepted_at INTEGER,
    started_at INTEGER,
    -- By the worker's clock, for people. Retention goes by settled_at, which is the store's own.
    finished_at INTEGER,
    settled_at INTEGER,
    next_attempt_at INTEGER,
    worker TEXT,
    error_code TEXT,
    error_message TEXT,
    last_error TEXT,
    trace TEXT,
    callback_url TEXT,
    callback_host TEXT,
    request_data BLOB,
    result BLOB
) STRICT;

INSERT INTO new_requests (id, status, type, owner, run, attempts, deliveries, accepted_at, started_at,
    finished_at, settled_at, next_attempt_at, worker, error_code, error_message, last_error, trace,
    request_data, result)
SELECT id, status, type, owner, run, attempts, deliveries, accepted_at, started_at, finished_at,
    settled_at, next_attempt_at, worker, error_code, error_message, last_error, trace, request_data,
    result
FROM requests;

DROP TABLE requests;
ALTER TABLE new_requests RENAME TO requests;

CREATE INDEX requests_by_status ON requests (status, id);
CREATE INDEX requests_by_type ON requests (type, status, id);
CREATE INDEX requests_by_settled_at ON requests (settled_at) WHERE settled_at IS NOT NULL;

-- What is to be told, from a request's end on. States: 0 pending, 1 delivered, 2 failed. No column has
-- the name of one of requests, so that both can be read together.
CREATE TABLE callbacks (
    request_id BLOB NOT NULL PRIMARY KEY,
    state INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 2),
    host TEXT NOT NULL,
    of_run INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    -- When the next attempt may begin. Whoever takes a callback puts this off, so that it is due again
    -- if nothing is heard of them.
    due_at INTEGER NOT NULL,
    -- Of whom is about to try; empty when nobody is.
    lease BLOB,
    calls INTEGER NOT NULL DEFAULT 0,
    call_error TEXT,
    delivered_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX callbacks_by_due_at ON callbacks (due_at, host) WHERE state = 0;
