-- Actions on many requests. What is to be done, and how far that is, are JSON that the store does not look into.
CREATE TABLE bulk_runs (
    id BLOB NOT NULL PRIMARY KEY,
    plan TEXT NOT NULL,
    progress TEXT NOT NULL,
    is_over INTEGER NOT NULL DEFAULT 0 CHECK (is_over IN (0, 1)),
    is_stop_asked INTEGER NOT NULL DEFAULT 0 CHECK (is_stop_asked IN (0, 1)),
    created_at INTEGER NOT NULL,
    -- When a web service may take it. Whoever has it puts this off, so that another one takes it if nothing is heard of them.
    due_at INTEGER NOT NULL,
    -- Of whom has it; empty until it begins.
    lease BLOB
) STRICT, WITHOUT ROWID;

CREATE INDEX bulk_runs_by_due_at ON bulk_runs (due_at) WHERE NOT is_over;
CREATE INDEX bulk_runs_by_created_at ON bulk_runs (created_at);
