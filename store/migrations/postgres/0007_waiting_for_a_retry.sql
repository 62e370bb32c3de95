-- Requests that wait for their next attempt are counted. Few wait at a time, and no other request is in here.
CREATE INDEX requests_by_next_attempt_at ON requests (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
