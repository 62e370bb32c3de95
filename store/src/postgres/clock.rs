//! The clock that all web services on a server go by: the server's own. One whose own clock is wrong
//! would else clear away what the others keep.

use sqlx::PgConnection;

use super::line::Work;
use crate::Millis;

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
    type Answer = Millis;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Millis> {
        sqlx::query_scalar(concat!("SELECT ", moment!())).fetch_one(connection).await
    }
}
