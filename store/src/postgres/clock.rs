//! The clock that all web services on a server go by: the server's own. One whose own clock is wrong
//! would else clear away what the others keep.

use pipeline::contract::Timestamp;
use sqlx::PgConnection;

use super::line::Work;

/// The moment it is now, as SQL.
macro_rules! moment {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    };
}

pub(super) use moment;

/// Asks what time it is.
pub(super) struct Clock;

impl Work for Clock {
    type Answer = Timestamp;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Timestamp> {
        let clock = sqlx::query_scalar(concat!("SELECT ", moment!())).fetch_one(connection);
        clock.await.map(Timestamp::from_millis)
    }
}
