-- Messages that belong to no request are listed by themselves.
CREATE INDEX parked_without_request ON parked (number) WHERE request_id IS NULL;
