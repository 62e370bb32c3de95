-- A tombstone stays as long as a claim names it.
CREATE INDEX claims_by_id ON claims (id);
