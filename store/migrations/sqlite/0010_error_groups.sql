-- Failures with the same code and the same pattern of the message. The id is a digest of both.
CREATE TABLE error_groups (
    id INTEGER PRIMARY KEY,
    code TEXT NOT NULL,
    pattern TEXT NOT NULL,
    example TEXT NOT NULL,
    example_id BLOB NOT NULL,
    first_at INTEGER NOT NULL
) STRICT;

-- How often attempts failed so. In PostgreSQL each connection has rows of its own.
CREATE TABLE group_counts (
    group_id INTEGER NOT NULL,
    writer INTEGER NOT NULL,
    count INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (group_id, writer)
) STRICT, WITHOUT ROWID;

-- The requests that are failed now, with their groups. No column has the name of one of requests.
CREATE TABLE failures (
    failed_id BLOB NOT NULL PRIMARY KEY,
    group_id INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX failures_by_group ON failures (group_id, failed_id);

-- Requests that an earlier release has recorded as failed are grouped little by little, from the newest down to the oldest.
CREATE TABLE ungrouped (below BLOB NOT NULL) STRICT;
INSERT INTO ungrouped SELECT x'ffffffffffffffffffffffffffffffff' WHERE EXISTS (SELECT 1 FROM requests WHERE status = 2);
