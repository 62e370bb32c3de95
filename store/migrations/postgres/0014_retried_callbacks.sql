-- When somebody asked for another attempt: the time for attempts begins anew with that.
ALTER TABLE callbacks ADD COLUMN retried_at bigint;
