//! Offer store: which account has got an offer on which day, in an embedded database.

use std::path::Path;

use rusqlite::{Connection, Result};

/// How long to wait for another instance that writes to the same file.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// The offers in their database. Instances on one machine may share the file.
pub(crate) struct OfferStore(Connection);

impl OfferStore {
    /// Opens the database.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS offers \
             (account_id TEXT, day TEXT, PRIMARY KEY (account_id, day)) WITHOUT ROWID",
        )?;
        Ok(Self(connection))
    }

    /// Makes an offer, and commits it. False if the account has got one on that day already.
    pub(crate) fn make_offer(&self, account_id: &str, day: &str) -> Result<bool> {
        let insert = "INSERT OR IGNORE INTO offers VALUES (?1, ?2)";
        Ok(self.0.execute(insert, (account_id, day))? == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_gets_one_offer_a_day() {
        let store = OfferStore::open(":memory:".as_ref()).unwrap();
        let offers =
            [("a", "2024-01-01"), ("a", "2024-01-01"), ("a", "2024-01-02"), ("b", "2024-01-01")]
                .map(|(account, day)| store.make_offer(account, day).unwrap());
        assert_eq!(offers, [true, false, true, true]);
    }
}
