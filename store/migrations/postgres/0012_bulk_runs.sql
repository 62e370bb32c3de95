-- Actions on many requests. What is to be done, and how far that is, are JSON that the store does not look into.
CREATE TABLE bulk_runs (
    id uuid PRIMARY KEY,
    plan text NOT NULL,
    progress text NOT NULL,
    is_over boolean NOT NULL DEFAULT false,
    is_stop_asked boolean NOT NULL DEFAULT false,
    created_at bigint NOT NULL,
    -- When a web service may take it. Whoever has it puts this off, so that another one takes it if nothing is heard of them.
    due_at bigint NOT NULL,
    -- Of whom has it; empty until it begins.
    lease uuid
);

CREATE INDEX bulk_runs_by_due_at ON bulk_runs (due_at) WHERE NOT is_over;
CREATE INDEX bulk_runs_by_created_at ON bulk_runs (created_at);
