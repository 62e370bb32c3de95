//! The steps by which a store gets its tables. A step that was released is never changed.

/// A step's number, counted from 1, and its SQL.
pub(super) type Step = (i32, &'static str);

macro_rules! step {
    ($store:literal, $number:literal, $name:literal) => {
        ($number, include_str!(concat!("../migrations/", $store, "/", $name, ".sql")))
    };
}

pub(super) const SQLITE: &[Step] = &[
    step!("sqlite", 1, "0001_requests"),
    step!("sqlite", 2, "0002_claims"),
    step!("sqlite", 3, "0003_callbacks"),
    step!("sqlite", 4, "0004_letters"),
];
pub(super) const POSTGRES: &[Step] = &[
    step!("postgres", 1, "0001_requests"),
    step!("postgres", 2, "0002_claims"),
    step!("postgres", 3, "0003_callbacks"),
    step!("postgres", 4, "0004_letters"),
];

/// The steps that are missing after `done`. A store that a newer release has taken further is left
/// as it is.
pub(super) fn missing(steps: &'static [Step], done: i32) -> impl Iterator<Item = &'static Step> {
    steps.iter().filter(move |(number, _)| *number > done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_without_gaps_and_alike_for_both() {
        let numbers = |steps: &[Step]| steps.iter().map(|(number, _)| *number).collect::<Vec<_>>();
        assert_eq!(numbers(SQLITE), (1..=SQLITE.len() as i32).collect::<Vec<_>>());
        assert_eq!(numbers(SQLITE), numbers(POSTGRES));
    }
}
