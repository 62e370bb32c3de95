//! The HTTP side of Slowlane: accepts requests, hands them to the broker, receives their results,
//! and gives them out by id.
//!
//! [`app`] wires everything. [`api`] is what clients see, [`accept`] what happens to a request,
//! [`results`] and [`failed`] what comes back ([`inbox`] is what both have in common), [`store`] where it is kept, [`waiters`] who waits, [`news`] what
//! wakes them.

pub mod accept;
pub mod api;
pub mod app;
pub mod config;
pub mod failed;
pub mod inbound;
pub mod inbox;
pub mod news;
pub mod results;
pub mod retention;
pub mod state;
pub mod store;
pub mod waiters;
