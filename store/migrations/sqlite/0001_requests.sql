-- Statuses: 0 queued, 1 completed, 2 failed, 3 cancelled. Times: milliseconds since 1970, UTC.
-- Payloads are JSON text exactly as it came, so they are kept as bytes. They stand last in the row:
-- whoever reads only the columns before them does not touch the pages they spill over to.
CREATE TABLE requests (
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
    request_data BLOB,
    result BLOB
) STRICT;

-- The list, filtered. By type alone it is merged from the four statuses of a type.
CREATE INDEX requests_by_status ON requests (status, id);
CREATE INDEX requests_by_type ON requests (type, status, id);
CREATE INDEX requests_by_settled_at ON requests (settled_at) WHERE settled_at IS NOT NULL;

-- Ids that were here once.
CREATE TABLE tombstones (
    id BLOB NOT NULL PRIMARY KEY,
    expired_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tombstones_by_expired_at ON tombstones (expired_at);

-- What was handed to the failed queue, whole. The key is a digest of the message, so that a second
-- delivery of it leaves no second row.
CREATE TABLE parked (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key BLOB NOT NULL UNIQUE,
    request_id BLOB,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE INDEX parked_by_request ON parked (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX parked_by_received_at ON parked (received_at);

-- Written whenever the file is opened, so that a disk which takes no writes is noticed at once.
CREATE TABLE opened (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    at INTEGER NOT NULL
) STRICT;
