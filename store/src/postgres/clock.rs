//! The server's clock, by which all web services on it go: one with a wrong clock of its own would otherwise
//! delete what the others keep.

use pipeline::contract::Timestamp;
use sqlx::PgConnection;

use crate::postgres::session::Work;

/// The present moment in milliseconds, as SQL.
macro_rules! now {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    };
}

pub(super) use now;

/// Reads the clock.
pub(super) struct Clock;

impl Work for Clock {
    type Answer = Timestamp;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Timestamp> {
        let clock = sqlx::query_scalar(concat!("SELECT ", now!())).fetch_one(connection);
        clock.await.map(Timestamp::from_millis)
    }
}
