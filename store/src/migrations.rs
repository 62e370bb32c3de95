//! Schema migrations of both backends, and which of them a database lacks. A released one never changes.
//!
//! They are applied by the backends: SQLite counts them in `PRAGMA user_version`, PostgreSQL in the table
//! `migrations`.

/// A migration's number, counted from 1, and its SQL.
pub(crate) type Migration = (i32, &'static str);

macro_rules! migration {
    ($store:literal, $number:literal, $name:literal) => {
        ($number, include_str!(concat!("../migrations/", $store, "/", $name, ".sql")))
    };
}

pub(crate) const SQLITE: &[Migration] = &[
    migration!("sqlite", 1, "0001_requests"),
    migration!("sqlite", 2, "0002_claims"),
    migration!("sqlite", 3, "0003_callbacks"),
    migration!("sqlite", 4, "0004_parked_without_request"),
    migration!("sqlite", 5, "0005_noted_runs"),
    migration!("sqlite", 6, "0006_claims_by_id"),
    migration!("sqlite", 7, "0007_waiting_for_a_retry"),
    migration!("sqlite", 8, "0008_attempts"),
    migration!("sqlite", 9, "0009_filters"),
    migration!("sqlite", 10, "0010_error_groups"),
    migration!("sqlite", 11, "0011_stats"),
    migration!("sqlite", 12, "0012_bulk_runs"),
    migration!("sqlite", 13, "0013_lists_by_type"),
    migration!("sqlite", 14, "0014_retried_callbacks"),
    migration!("sqlite", 15, "0015_error_groups_by_code"),
    migration!("sqlite", 16, "0016_callbacks_by_host"),
];
pub(crate) const POSTGRES: &[Migration] = &[
    migration!("postgres", 1, "0001_requests"),
    migration!("postgres", 2, "0002_claims"),
    migration!("postgres", 3, "0003_callbacks"),
    migration!("postgres", 4, "0004_parked_without_request"),
    migration!("postgres", 5, "0005_noted_runs"),
    migration!("postgres", 6, "0006_claims_by_id"),
    migration!("postgres", 7, "0007_waiting_for_a_retry"),
    migration!("postgres", 8, "0008_attempts"),
    migration!("postgres", 9, "0009_filters"),
    migration!("postgres", 10, "0010_error_groups"),
    migration!("postgres", 11, "0011_stats"),
    migration!("postgres", 12, "0012_bulk_runs"),
    migration!("postgres", 13, "0013_lists_by_type"),
    migration!("postgres", 14, "0014_retried_callbacks"),
    migration!("postgres", 15, "0015_error_groups_by_code"),
    migration!("postgres", 16, "0016_callbacks_by_host"),
];

/// The migrations after number `done`: none for a database that a newer release has migrated further.
pub(crate) fn missing(
    migrations: &'static [Migration],
    done: i32,
) -> impl Iterator<Item = &'static Migration> {
    migrations.iter().filter(move |(number, _)| *number > done)
}

/// Logs that a database of an older release is migrated, since that takes minutes with many requests, or that this program
/// is the older one.
pub(crate) fn log(migrations: &[Migration], done: i32) {
    let newest = migrations.last().map_or(0, |(number, _)| *number);
    match done {
        0 => {}
        _ if done < newest => {
            tracing::info!(from = done, to = newest, "migrating the store, which may take minutes");
        }
        _ if done > newest => {
            let text = "the store was migrated by a newer release than this one";
            tracing::warn!(found = done, known = newest, "{text}");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gaps_and_alike_for_both() {
        let numbers = |all: &[Migration]| all.iter().map(|(number, _)| *number).collect::<Vec<_>>();
        assert_eq!(numbers(SQLITE), (1..=SQLITE.len() as i32).collect::<Vec<_>>());
        assert_eq!(numbers(SQLITE), numbers(POSTGRES));
    }
}
