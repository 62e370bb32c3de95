//! Topology: the exchanges, which both services declare, and a queue of each, so that either can start first. Until a
//! follower has declared its queue, no queue takes the updates, and they wait in the outbox.

use pipeline::topology::{Exchange, ExchangeKind, Queue, QueueType, Topology};

/// The topic exchange of what happens to users.
pub const USER_UPDATES: &str = "user_updates";
/// The fanout exchange of what everybody is to know.
pub const ANNOUNCEMENTS: &str = "user_announcements";

/// The profile service's queue.
pub const ROLLBACKS: &str = "profile_rollbacks";
/// The follower's queue.
pub const FOLLOWER: &str = "profile_follower";

/// A profile has a new name.
pub const UPDATE: &str = "user.profile.update";
/// A follower has refused an update, which is to be undone.
pub const ROLLBACK: &str = "user.profile.rollback";
/// All that happens to profiles: `*` stands for one word.
pub const PROFILE_PATTERN: &str = "user.profile.*";

/// What the profile service publishes to and consumes.
pub fn of_profile() -> Topology {
    Topology::of_program(exchanges(), [queue(ROLLBACKS).bound_to(USER_UPDATES, ROLLBACK)])
}

/// What the follower publishes to and consumes.
pub fn of_follower() -> Topology {
    let updates = queue(FOLLOWER).bound_to(USER_UPDATES, PROFILE_PATTERN);
    Topology::of_program(exchanges(), [updates.bound_to(ANNOUNCEMENTS, "")])
}

fn exchanges() -> [Exchange; 2] {
    [
        Exchange::new(USER_UPDATES, ExchangeKind::Topic),
        Exchange::new(ANNOUNCEMENTS, ExchangeKind::Fanout),
    ]
}

fn queue(name: &str) -> Queue {
    Queue::new(name, QueueType::Quorum).without_delivery_limit()
}
