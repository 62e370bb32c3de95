//! Records and cancels requests in PostgreSQL.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    error::StoreError,
    model::request::{Cancel, NewRequest},
    postgres::{
        batch::Rows,
        callbacks::callbacks_of_ended,
        clock::Clock,
        lookups::state,
        row::number,
        session::Work,
        stats::{minutes_counted, statuses_tallied},
    },
    sql::{accept_rule, cancel},
};

/// A request that had ended before it was recorded gets its callback now.
const ACCEPT: &str = concat!(
    "WITH accepted AS (INSERT INTO requests (id, type, owner, accepted_at, trace, callback_url, \
     callback_host, request_data) \
     SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], \
     $6::text[], $7::text[], $8::bytea[]) AS new (id) \
     WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE tombstones.id = new.id) ORDER BY new.id",
    accept_rule!(),
    " RETURNING id, status, run, settled_at, callback_host, type), ",
    minutes_counted!("accepted", accepted "true", completed "false", failed "false",
        retried "false", cancelled "false"),
    ", ",
    statuses_tallied!(
        // If there was a row, which only a result makes, its type was not known.
        "SELECT type, status, 1 FROM accepted UNION ALL \
         SELECT 'default', status, -1 FROM accepted WHERE status <> 0 OR run > 0"
    ),
    " INSERT INTO callbacks (request_id, of_run, host, ended_at, due_at) \
     SELECT id, run, callback_host, settled_at, settled_at FROM accepted \
     WHERE status <> 0 AND callback_host IS NOT NULL ON CONFLICT (request_id) DO NOTHING"
);

const CANCEL: &str = concat!(
    "WITH ended AS (",
    cancel!(),
    "), ",
    callbacks_of_ended!(),
    ", ",
    minutes_counted!("ended", accepted "false", completed "false", failed "false",
        retried "false", cancelled "true"),
    ", ",
    statuses_tallied!("SELECT type, 3, 1 FROM ended UNION ALL SELECT type, 0, -1 FROM ended"),
    " SELECT run FROM ended"
);

impl Rows for NewRequest {
    type Outcome = Result<(), StoreError>;

    fn key(&self) -> Uuid {
        self.id
    }

    fn bytes(&self) -> usize {
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

/// Cancels a request.
pub(super) struct CancelOne(pub(super) Uuid);

impl Work for CancelOne {
    type Answer = Cancel;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Cancel> {
        let now = Clock.run(&mut *connection).await?;
        let cancel = sqlx::query(CANCEL).bind(now.as_millis()).bind(self.0);
        if let Some(row) = cancel.fetch_optional(&mut *connection).await? {
            return Ok(Cancel::Done(number(&row, 0)?));
        }
        state(connection, self.0).await.map(Cancel::refused)
    }
}
