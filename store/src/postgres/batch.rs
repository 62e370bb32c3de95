//! Batches: many rows in one statement each, in one transaction; a bad row is left out alone.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::{
    backend::BATCH_PART_BYTES,
    error::StoreError,
    postgres::session::{Session, Work, WorkError},
};

/// How many rows go into one statement at most. Their bytes are limited too, by [`BATCH_PART_BYTES`]: the
/// protocol has a limit, and so has a server's memory.
const MAX_STATEMENT_ROWS: usize = 1000;

/// What became of a row.
pub(super) trait Outcome: Send + Sized {
    /// The outcome of the row if it was written again, because the first answer was lost.
    fn when_repeated(self) -> Self {
        self
    }
}

impl Outcome for () {}

impl<T: Send> Outcome for Result<T, StoreError> {}

/// A kind of row that is written many at a time.
pub(super) trait Rows: Sized + Sync {
    /// What became of a row.
    type Outcome: Outcome;

    /// Different for all rows of a statement.
    fn key(&self) -> Uuid;

    /// About how many bytes the row has.
    fn bytes(&self) -> usize;

    /// Writes rows with different keys, in one statement or in a few within a transaction.
    fn write(
        connection: &mut PgConnection,
        rows: &[Self],
    ) -> impl Future<Output = sqlx::Result<Vec<Self::Outcome>>> + Send;

    /// The outcome of a row that can't be stored.
    fn refused(reason: String) -> Self::Outcome;
}

/// Writes all rows in one transaction and returns their outcomes in the order of the rows. If the server
/// refuses the data, the rows are written again one by one, and only the refused ones are left out.
pub(super) async fn write<R: Rows>(
    session: &mut Session,
    rows: Vec<R>,
) -> Result<Vec<R::Outcome>, WorkError> {
    let (places, rows) = in_order(rows);
    let outcomes = write_in_order(session, &rows).await?;
    let mut placed: Vec<_> = places.into_iter().zip(outcomes).collect();
    placed.sort_unstable_by_key(|(place, _)| *place);
    Ok(placed.into_iter().map(|(_, outcome)| outcome).collect())
}

/// Sorts rows by their keys, and returns the place that each had. A second row with the same key stays
/// behind the first, and behind all other keys, since its lock is held by then. So all writers take locks
/// in the same order, also over several statements, and can't deadlock.
fn in_order<R: Rows>(rows: Vec<R>) -> (Vec<usize>, Vec<R>) {
    let mut seen = HashMap::new();
    let mut rows: Vec<_> = rows
        .into_iter()
        .enumerate()
        .map(|(place, row)| {
            let key = row.key();
            let before = seen.entry(key).or_insert(0_usize);
            *before += 1;
            ((*before, key), place, row)
        })
        .collect();
    rows.sort_by_key(|(order, ..)| *order);
    rows.into_iter().map(|(_, place, row)| (place, row)).unzip()
}

async fn write_in_order<R: Rows>(
    session: &mut Session,
    rows: &[R],
) -> Result<Vec<R::Outcome>, WorkError> {
    match write_once(session, rows).await {
        Ok(outcomes) => return Ok(outcomes),
        Err(WorkError::Data(reason)) if rows.len() == 1 => return Ok(vec![R::refused(reason)]),
        Err(WorkError::Data(_)) => {}
        Err(error) => return Err(error),
    }
    let mut outcomes = Vec::with_capacity(rows.len());
    for row in rows.chunks(1) {
        match write_once(session, row).await {
            Ok(outcome) => outcomes.extend(outcome),
            Err(WorkError::Data(reason)) => outcomes.push(R::refused(reason)),
            Err(error) => return Err(error),
        }
    }
    Ok(outcomes)
}

async fn write_once<R: Rows>(
    session: &mut Session,
    rows: &[R],
) -> Result<Vec<R::Outcome>, WorkError> {
    let (outcomes, is_repeated) = session.run_repeating(&Batch(rows)).await?;
    session.set_committed();
    Ok(match is_repeated {
        false => outcomes,
        true => outcomes.into_iter().map(Outcome::when_repeated).collect(),
    })
}

struct Batch<'r, R>(&'r [R]);

impl<R: Rows> Work for Batch<'_, R> {
    type Answer = Vec<R::Outcome>;

    fn timeout_factor(&self) -> u32 {
        u32::try_from(parts(self.0).len()).unwrap_or(u32::MAX)
    }

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Self::Answer> {
        let parts = parts(self.0);
        if parts.len() == 1 {
            return R::write(connection, self.0).await;
        }
        let mut outcomes = Vec::with_capacity(self.0.len());
        let mut transaction = connection.begin().await?;
        for part in parts {
            outcomes.extend(R::write(&mut transaction, &self.0[part]).await?);
        }
        transaction.commit().await?;
        connection.shrink_buffers();
        Ok(outcomes)
    }
}

/// Cuts rows, without changing their order, so that each part fits into a statement and has no key
/// twice: which of two rows comes first matters.
fn parts<R: Rows>(rows: &[R]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut start, mut bytes, mut keys) = (0, 0, HashSet::new());
    for (at, row) in rows.iter().enumerate() {
        bytes += row.bytes();
        let fits = at == start || (bytes <= BATCH_PART_BYTES && at - start < MAX_STATEMENT_ROWS);
        if !fits || keys.contains(&row.key()) {
            parts.push(start..at);
            (start, bytes) = (at, row.bytes());
            keys.clear();
        }
        keys.insert(row.key());
    }
    parts.push(start..rows.len());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Row(u128, usize);

    impl Rows for Row {
        type Outcome = ();

        fn key(&self) -> Uuid {
            Uuid::from_u128(self.0)
        }

        fn bytes(&self) -> usize {
            self.1
        }

        async fn write(_: &mut PgConnection, _: &[Self]) -> sqlx::Result<Vec<()>> {
            Ok(Vec::new())
        }

        fn refused(_: String) {}
    }

    #[test]
    fn a_part_has_no_key_twice() {
        let rows = [1, 2, 1, 3, 2, 2].map(|key| Row(key, 1));
        assert_eq!(parts(&rows), [0..2, 2..5, 5..6]);
    }

    #[test]
    fn rows_are_sorted_by_key_and_second_ones_come_last() {
        let rows = [3, 1, 3, 2, 1, 3].map(|key| Row(key, 1));
        let (places, rows) = in_order(rows.into());
        let keys: Vec<u128> = rows.iter().map(|row| row.0).collect();
        assert_eq!((keys, places), (vec![1, 2, 3, 1, 3, 3], vec![1, 3, 0, 4, 2, 5]));
        assert_eq!(parts(&rows), [0..3, 3..5, 5..6]);
    }

    #[test]
    fn a_part_fits_into_a_statement_unless_a_single_row_does_not() {
        let rows = [
            (1, BATCH_PART_BYTES / 2),
            (2, BATCH_PART_BYTES / 2),
            (3, 1),
            (4, BATCH_PART_BYTES * 2),
            (5, 1),
        ];
        let rows = rows.map(|(key, size)| Row(key, size));
        assert_eq!(parts(&rows), [0..2, 2..3, 3..4, 4..5]);
        let many: Vec<Row> = (0..2500).map(|key| Row(key, 1)).collect();
        assert_eq!(parts(&many), [0..1000, 1000..2000, 2000..2500]);
    }
}
