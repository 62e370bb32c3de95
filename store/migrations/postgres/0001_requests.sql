-- Statuses: 0 queued, 1 completed, 2 failed, 3 cancelled. Times: milliseconds since 1970, UTC.
-- Payloads are JSON text exactly as it came, so they are kept as bytes: jsonb would change them.
CREATE TABLE requests (
    id uuid PRIMARY KEY,
    status smallint NOT NULL DEFAULT 0 CHECK (status BETWEEN 0 AND 3),
    type text COLLATE "C" NOT NULL DEFAULT 'default',
    owner text COLLATE "C",
    run bigint NOT NULL DEFAULT 0,
    attempts bigint NOT NULL DEFAULT 0,
    deliveries bigint NOT NULL DEFAULT 0,
    -- Empty as long as only a result or an event has come, and not yet the request itself.
    accepted_at bigint,
    started_at bigint,
    -- By the worker's clock, for people. Retention goes by settled_at, which is the store's own.
    finished_at bigint,
    settled_at bigint,
    next_attempt_at bigint,
    worker text,
    error_code text,
    error_message text,
    last_error text,
    trace text,
    request_data bytea,
    result bytea
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- The list, filtered. By type alone it is merged from the four statuses of a type.
CREATE INDEX requests_by_status ON requests (status, id);
CREATE INDEX requests_by_type ON requests (type, status, id);
CREATE INDEX requests_by_settled_at ON requests (settled_at) WHERE settled_at IS NOT NULL;

-- Ids that were here once.
CREATE TABLE tombstones (
    id uuid PRIMARY KEY,
    expired_at bigint NOT NULL
);

CREATE INDEX tombstones_by_expired_at ON tombstones (expired_at);

-- What was handed to the failed queue, whole. The key is a digest of the message, so that a second
-- delivery of it leaves no second row.
CREATE TABLE parked (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key bytea NOT NULL UNIQUE,
    request_id uuid,
    reason text NOT NULL,
    error text NOT NULL,
    received_at bigint NOT NULL,
    headers text NOT NULL,
    body bytea NOT NULL
);

CREATE INDEX parked_by_request ON parked (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX parked_by_received_at ON parked (received_at);
