//! Patience: how long a publish goes on while the broker does not take the message.

use tokio::time::Instant;

use crate::broker::error::PublishError;

/// How long a publish goes on.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// When it ends at the latest.
    pub(super) deadline: Instant,
    /// Until when a message that the broker has refused (nack), or could not route, is published again.
    pub(super) refused_until: Instant,
    /// Whether it goes on while nothing can be sent: the broker is away, or its topology is incomplete.
    awaits_broker: bool,
}

impl Patience {
    /// Goes on until the deadline if the broker refuses the message, and fails at once if nothing can be sent.
    pub(super) fn until(deadline: Instant) -> Self {
        Self { deadline, refused_until: deadline, awaits_broker: false }
    }

    /// Goes on also while nothing can be sent.
    pub(super) fn once_possible(self) -> Self {
        Self { awaits_broker: true, ..self }
    }

    /// Publishes a message that is refused again only until this moment.
    pub(super) fn refused_until(self, refused_until: Instant) -> Self {
        Self { refused_until, ..self }
    }

    /// Until when to try again after this error. None if that is final.
    pub(super) fn again_until(&self, error: &PublishError) -> Option<Instant> {
        match error {
            PublishError::NotSent(_) if self.awaits_broker => Some(self.deadline),
            PublishError::Unroutable(_) if self.awaits_broker => Some(self.refused_until),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_message_that_can_go_another_way_is_refused_for_a_shorter_time_than_it_waits_for_the_broker()
     {
        let (soon, later) = (Instant::now(), Instant::now() + Duration::from_secs(10));
        let (away, unroutable) =
            (PublishError::NotSent("away".into()), PublishError::Unroutable("no binding".into()));
        let patience = Patience::until(later).once_possible().refused_until(soon);
        assert_eq!(patience.again_until(&away), Some(later));
        assert_eq!(patience.again_until(&unroutable), Some(soon));
        assert_eq!(patience.again_until(&PublishError::Nacked), None, "it was tried again already");
        assert_eq!(Patience::until(later).again_until(&away), None);
    }
}
