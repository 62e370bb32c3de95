//! Writing many rows at a time.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::line::{Failure, Line, Work};
use crate::asking::PIECE;

/// How much goes into one statement: the protocol has a limit, and so has a server's memory.
const BYTES: usize = PIECE;
const ROWS: usize = 1000;

/// A kind of row that is written many at a time.
pub(super) trait Rows: Sized + Sync {
    /// What became of a row.
    type Outcome: Send;

    /// What no two rows of a statement may have in common.
    fn key(&self) -> Uuid;

    /// About how many bytes it has.
    fn size(&self) -> usize;

    /// Writes rows with different keys in one statement, or in a few within a transaction.
    fn write(
        connection: &mut PgConnection,
        rows: &[Self],
    ) -> impl Future<Output = sqlx::Result<Vec<Self::Outcome>>> + Send;

    /// The outcome of a row that can't be stored.
    fn refused(reason: String) -> Self::Outcome;
}

/// Writes all rows in one transaction and gives their outcomes in the order of the rows. If that
/// fails for the data it is done again row by row, and only the bad ones are left out. Nothing comes
/// of it when the store is away.
pub(super) async fn write<R: Rows>(line: &mut Line, rows: Vec<R>) -> Option<Vec<R::Outcome>> {
    let (places, rows) = in_order(rows);
    let outcomes = write_in_order(line, &rows).await?;
    let mut placed: Vec<_> = places.into_iter().zip(outcomes).collect();
    placed.sort_unstable_by_key(|(place, _)| *place);
    Some(placed.into_iter().map(|(_, outcome)| outcome).collect())
}

/// Puts rows into the order of their keys, and gives the place that each had. What comes again under
/// a key stays behind what came before, and behind all other keys: its lock is held by then. So
/// whoever writes takes locks in the same order, also over several statements, and no two can wait
/// for each other in a circle.
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

async fn write_in_order<R: Rows>(line: &mut Line, rows: &[R]) -> Option<Vec<R::Outcome>> {
    match line.run(&All(rows)).await {
        Ok(outcomes) => {
            line.committed();
            return Some(outcomes);
        }
        Err(Failure::Away | Failure::Unavailable(_)) => return None,
        Err(Failure::Data(reason)) if rows.len() == 1 => return Some(vec![R::refused(reason)]),
        Err(Failure::Data(_)) => {}
    }
    let mut outcomes = Vec::with_capacity(rows.len());
    for row in rows.chunks(1) {
        match line.run(&All(row)).await {
            Ok(outcome) => {
                line.committed();
                outcomes.extend(outcome);
            }
            Err(Failure::Data(reason)) => outcomes.push(R::refused(reason)),
            Err(Failure::Away | Failure::Unavailable(_)) => return None,
        }
    }
    Some(outcomes)
}

struct All<'r, R>(&'r [R]);

impl<R: Rows> Work for All<'_, R> {
    type Answer = Vec<R::Outcome>;

    fn weight(&self) -> u32 {
        u32::try_from(pieces(self.0).len()).unwrap_or(u32::MAX)
    }

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Self::Answer> {
        let pieces = pieces(self.0);
        if pieces.len() == 1 {
            return R::write(connection, self.0).await;
        }
        let mut outcomes = Vec::with_capacity(self.0.len());
        let mut transaction = connection.begin().await?;
        for piece in pieces {
            outcomes.extend(R::write(&mut transaction, &self.0[piece]).await?);
        }
        transaction.commit().await?;
        connection.shrink_buffers();
        Ok(outcomes)
    }
}

/// Cuts rows, without changing their order, so that each piece fits into a statement and has no key
/// twice: which of two rows comes first matters.
fn pieces<R: Rows>(rows: &[R]) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut start, mut bytes, mut keys) = (0, 0, HashSet::new());
    for (at, row) in rows.iter().enumerate() {
        bytes += row.size();
        let fits = at == start || (bytes <= BYTES && at - start < ROWS);
        if !fits || keys.contains(&row.key()) {
            pieces.push(start..at);
            (start, bytes) = (at, row.size());
            keys.clear();
        }
        keys.insert(row.key());
    }
    pieces.push(start..rows.len());
    pieces
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

        fn size(&self) -> usize {
            self.1
        }

        async fn write(_: &mut PgConnection, _: &[Self]) -> sqlx::Result<Vec<()>> {
            Ok(Vec::new())
        }

        fn refused(_: String) {}
    }

    #[test]
    fn a_piece_has_no_key_twice() {
        let rows = [1, 2, 1, 3, 2, 2].map(|key| Row(key, 1));
        assert_eq!(pieces(&rows), [0..2, 2..5, 5..6]);
    }

    #[test]
    fn rows_are_in_the_order_of_their_keys_and_what_comes_again_is_behind_all() {
        let rows = [3, 1, 3, 2, 1, 3].map(|key| Row(key, 1));
        let (places, rows) = in_order(rows.into());
        let keys: Vec<u128> = rows.iter().map(|row| row.0).collect();
        assert_eq!((keys, places), (vec![1, 2, 3, 1, 3, 3], vec![1, 3, 0, 4, 2, 5]));
        assert_eq!(pieces(&rows), [0..3, 3..5, 5..6]);
    }

    #[test]
    fn a_piece_fits_into_a_statement_unless_a_single_row_does_not() {
        let rows = [(1, BYTES / 2), (2, BYTES / 2), (3, 1), (4, BYTES * 2), (5, 1)];
        let rows = rows.map(|(key, size)| Row(key, size));
        assert_eq!(pieces(&rows), [0..2, 2..3, 3..4, 4..5]);
        let many: Vec<Row> = (0..2500).map(|key| Row(key, 1)).collect();
        assert_eq!(pieces(&many), [0..1000, 1000..2000, 2000..2500]);
    }
}
