//! Catalogue sync: an admin service and a public service, each with its own database, kept in step in both directions.
//!
//! [`admin`] owns the products and tells the public service of each change over the queue `main`. [`public`] takes likes
//! and tells the admin service of each over the queue `admin`. [`messages`] is what they say, [`topology`] the queues.
//! The crate `outbox` has what makes this safe: a change and its message commit together, and a message is handled once.

pub mod admin;
pub mod messages;
pub mod product;
pub mod public;
pub mod topology;
