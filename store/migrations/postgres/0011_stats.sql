-- How many requests were accepted and have ended, and how many attempts failed and were followed by another one, in each
-- minute (counted from 1970). Each connection has rows of its own, so that none waits for another; they are added up.
CREATE TABLE minutes (
    minute bigint NOT NULL,
    writer bigint NOT NULL,
    type text COLLATE "C" NOT NULL,
    accepted bigint NOT NULL DEFAULT 0,
    completed bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    retried bigint NOT NULL DEFAULT 0,
    cancelled bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (minute, writer, type)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- The same in each hour.
CREATE TABLE hours (
    hour bigint NOT NULL,
    type text COLLATE "C" NOT NULL,
    accepted bigint NOT NULL DEFAULT 0,
    completed bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    retried bigint NOT NULL DEFAULT 0,
    cancelled bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, type)
);

-- How many requests have each status, as changes by each connection; they are added up.
CREATE TABLE tallies (
    writer bigint NOT NULL,
    type text COLLATE "C" NOT NULL,
    queued bigint NOT NULL DEFAULT 0,
    completed bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    cancelled bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (writer, type)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

INSERT INTO tallies (writer, type, queued, completed, failed, cancelled)
SELECT 0, type, count(*) FILTER (WHERE status = 0), count(*) FILTER (WHERE status = 1),
    count(*) FILTER (WHERE status = 2), count(*) FILTER (WHERE status = 3)
FROM requests GROUP BY type;
