-- The run that a replay is about to publish, or has published: noted before, so that a result which does
-- not name its run can be told to be of the replay.
ALTER TABLE requests ADD COLUMN noted_run bigint NOT NULL DEFAULT 0;
