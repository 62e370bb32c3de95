-- The list by status is merged from the types of a status: an index less to keep for every request.
DROP INDEX requests_by_status;
