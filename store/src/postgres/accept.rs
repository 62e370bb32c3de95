//! Recording requests.

use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::Rows;
use crate::{NewRequest, StoreError, sql::accept_rule};

/// A request that had ended before it was recorded gets its callback now.
const ACCEPT: &str = concat!(
    "WITH accepted AS (INSERT INTO requests (id, type, owner, accepted_at, trace, callback_url, \
     callback_host, request_data) \
     SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], \
     $6::text[], $7::text[], $8::bytea[]) AS new (id) \
     WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE tombstones.id = new.id) ORDER BY new.id",
    accept_rule!(),
    " RETURNING id, status, run, settled_at, callback_host) \
     INSERT INTO callbacks (request_id, of_run, host, ended_at, due_at) \
     SELECT id, run, callback_host, settled_at, settled_at FROM accepted \
     WHERE status <> 0 AND callback_host IS NOT NULL ON CONFLICT (request_id) DO NOTHING"
);

impl Rows for NewRequest {
    type Outcome = Result<(), StoreError>;

    fn key(&self) -> Uuid {
        self.id
    }

    fn size(&self) -> usize {
        self.request_data.len() + 200
    }

    async fn write(
        connection: &mut PgConnection,
        rows: &[Self],
    ) -> sqlx::Result<Vec<Self::Outcome>> {
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let kinds: Vec<&str> = rows.iter().map(|row| row.kind.as_str()).collect();
        let owners: Vec<Option<&str>> = rows.iter().map(|row| row.owner.as_deref()).collect();
        let accepted: Vec<i64> = rows.iter().map(|row| row.accepted_at.as_millis()).collect();
        let traces: Vec<Option<&str>> = rows.iter().map(|row| row.trace.as_deref()).collect();
        let data: Vec<&[u8]> = rows.iter().map(|row| row.request_data.as_slice()).collect();
        let targets = || rows.iter().map(|row| row.callback.as_ref());
        let urls: Vec<Option<&str>> = targets().map(|one| Some(one?.url.as_str())).collect();
        let hosts: Vec<Option<&str>> = targets().map(|one| Some(one?.host.as_str())).collect();
        let query = sqlx::query(ACCEPT).bind(ids).bind(kinds).bind(owners).bind(accepted);
        query.bind(traces).bind(urls).bind(hosts).bind(data).execute(connection).await?;
        Ok(vec![Ok(()); rows.len()])
    }

    fn refused(reason: String) -> Self::Outcome {
        Err(StoreError::Refused(reason))
    }
}
