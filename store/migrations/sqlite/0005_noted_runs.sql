-- The run that a replay is about to publish, or has published: noted before, so that a result which does
-- not name its run can be told to be of the replay. Only writes look at it, which read the whole row anyway.
ALTER TABLE requests ADD COLUMN noted_run INTEGER NOT NULL DEFAULT 0;
