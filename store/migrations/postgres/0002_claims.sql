-- Idempotency keys. A name is a digest of the owner and the key, a digest that of the body; so no
-- key of a client can be read here.
CREATE TABLE claims (
    name bytea PRIMARY KEY,
    digest bytea NOT NULL,
    id uuid NOT NULL,
    claimed_at bigint NOT NULL,
    -- When to look whether it can go: never before its request.
    keep_until bigint NOT NULL
);

CREATE INDEX claims_by_keep_until ON claims (keep_until);
