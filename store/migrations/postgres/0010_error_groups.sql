-- Failures with the same code and the same pattern of the message. The id is a digest of both.
CREATE TABLE error_groups (
    id bigint PRIMARY KEY,
    code text NOT NULL,
    pattern text NOT NULL,
    example text NOT NULL,
    example_id uuid NOT NULL,
    first_at bigint NOT NULL
);

-- How often attempts failed so. Each connection has rows of its own, so that none waits for another; they are added up.
CREATE TABLE group_counts (
    group_id bigint NOT NULL,
    writer bigint NOT NULL,
    count bigint NOT NULL,
    last_at bigint NOT NULL,
    PRIMARY KEY (group_id, writer)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- The requests that are failed now, with their groups. No column has the name of one of requests.
CREATE TABLE failures (
    failed_id uuid PRIMARY KEY,
    group_id bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX failures_by_group ON failures (group_id, failed_id);

-- Requests that an earlier release has recorded as failed are grouped little by little, from the newest down to the oldest.
CREATE TABLE ungrouped (below uuid NOT NULL);
INSERT INTO ungrouped SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff' WHERE EXISTS (SELECT 1 FROM requests WHERE status = 2);
