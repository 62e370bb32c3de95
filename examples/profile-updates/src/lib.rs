//! Profile updates: a service that owns user profiles, and a follower with a copy of them, which may refuse an update.
//!
//! A saga of two steps: [`profile`] commits a new name and emits `user.profile.update`; [`follower`] commits it to its copy,
//! or refuses it and answers `user.profile.rollback`, which [`profile`] undoes. [`messages`] is what they say, [`topology`]
//! the exchanges and queues, [`decision`] what the follower does about an error. The crate `outbox` has what makes each
//! step safe: a change and its message commit together, and a message is handled once.

pub mod decision;
pub mod follower;
pub mod messages;
pub mod profile;
pub mod topology;
