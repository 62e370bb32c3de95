//! Check: what follows when the topology could not be checked to the end.

use crate::broker::error::AskError;

/// What follows from a check of the topology that failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// The session is of no use.
    Lost,
    /// Something is missing.
    Missing,
    /// Nothing is known to be missing: what is in use was there before.
    NotKnown,
}

impl Check {
    /// What follows from this error on a session that lives. One queue that hangs leaves its question unanswered, and the
    /// others can be used.
    pub(super) fn of(error: &AskError, is_unanswered: bool) -> Self {
        match error {
            AskError::NoChannelLeft { .. } => Self::NotKnown,
            AskError::Lost if is_unanswered => Self::NotKnown,
            AskError::Lost => Self::Lost,
            AskError::Refused { .. } | AskError::NotCounted => Self::Missing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_does_not_answer_costs_no_session_that_lives() {
        assert_eq!(Check::of(&AskError::Lost, true), Check::NotKnown);
        assert_eq!(Check::of(&AskError::Lost, false), Check::Lost);
        let refused = AskError::Refused { code: 403, text: String::new() };
        assert_eq!(Check::of(&refused, false), Check::Missing);
    }
}
