-- How many requests were accepted and have ended, and how many attempts failed and were followed by another one, in each
-- minute (counted from 1970). In PostgreSQL each connection has rows of its own.
CREATE TABLE minutes (
    minute INTEGER NOT NULL,
    writer INTEGER NOT NULL,
    type TEXT NOT NULL,
    accepted INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    retried INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (minute, writer, type)
) STRICT, WITHOUT ROWID;

-- The same in each hour.
CREATE TABLE hours (
    hour INTEGER NOT NULL,
    type TEXT NOT NULL,
    accepted INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    retried INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, type)
) STRICT, WITHOUT ROWID;

-- How many requests have each status, as changes.
CREATE TABLE tallies (
    writer INTEGER NOT NULL,
    type TEXT NOT NULL,
    queued INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (writer, type)
) STRICT, WITHOUT ROWID;

INSERT INTO tallies (writer, type, queued, completed, failed, cancelled)
SELECT 0, type, count(*) FILTER (WHERE status = 0), count(*) FILTER (WHERE status = 1),
    count(*) FILTER (WHERE status = 2), count(*) FILTER (WHERE status = 3)
FROM requests GROUP BY type;
