//! Patience: how long a publish goes on, and what it does while the broker does not take the message.

use tokio::time::Instant;

/// What to do while nothing can be sent: the broker is away, or its topology is incomplete.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsent {
    /// Say so at once.
    Fail,
    /// Try again until the deadline.
    TryAgain,
}

/// How long a publish goes on.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// When it ends at the latest.
    pub(super) deadline: Instant,
    /// Until when a message that the broker has refused (nack) is published again.
    pub(super) refused_until: Instant,
    /// What to do while nothing can be sent.
    pub(super) unsent: Unsent,
}

impl Patience {
    /// Goes on until the deadline if the broker refuses the message, and fails at once if nothing can be sent.
    pub(super) fn until(deadline: Instant) -> Self {
        Self { deadline, refused_until: deadline, unsent: Unsent::Fail }
    }

    /// Also waits until something can be sent.
    pub(super) fn once_possible(self) -> Self {
        Self { unsent: Unsent::TryAgain, ..self }
    }

    /// Publishes a message that is refused again only until this moment.
    pub(super) fn refused_until(self, refused_until: Instant) -> Self {
        Self { refused_until, ..self }
    }
}
