//! Transactional outbox and idempotent inbox on SQLite: a service changes its own database and tells others of it,
//! and neither happens without the other, whatever is killed in between.
//!
//! - [`database`]: what commits in one transaction.
//! - [`outbox`]: a message is a row that commits with the change it is about. A relay publishes the rows in their
//!   order, each until the broker has confirmed it, and then removes it. *Killed between confirm and removal*: the
//!   message is published twice, with the same `message_id`.
//! - [`inbox`]: the `message_id` of a received message commits with the change that follows from it, then the message is
//!   acked. *Killed between commit and ack*: it is delivered again and found to be known.
//! - [`service`]: a program of these parts and an HTTP server.

pub mod database;
pub mod http;
pub mod inbox;
pub mod outbox;
pub mod service;
pub mod settings;
