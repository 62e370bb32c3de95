-- The list, filtered by error code. Only failed requests are in here. An index takes no texts of any length.
CREATE INDEX requests_by_code ON requests (substr(error_code, 1, 200), id) WHERE error_code IS NOT NULL;
-- By attempts: few requests have several.
CREATE INDEX requests_by_attempts ON requests (id) WHERE attempts > 1;
