-- Idempotency keys. A name is a digest of the owner and the key, a digest that of the body; so no
-- key of a client can be read here.
CREATE TABLE claims (
    name BLOB NOT NULL PRIMARY KEY,
    digest BLOB NOT NULL,
    id BLOB NOT NULL,
    claimed_at INTEGER NOT NULL,
    -- When to look whether it can go: never before its request.
    keep_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX claims_by_keep_until ON claims (keep_until);
