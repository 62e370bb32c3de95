//! A pooler between the web service and PostgreSQL.

mod slow;
