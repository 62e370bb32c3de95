-- A code has a bounded number of groups.
CREATE INDEX error_groups_by_code ON error_groups (code);
