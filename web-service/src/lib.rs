//! The HTTP side of Slowlane: accepts requests, hands them to the broker, receives their results,
//! and gives them out by id.
//!
//! [`app`] wires everything. [`api`] is what clients see, [`accept`] what happens to a request, [`replay`] what
//! happens to one that has failed,
//! [`results`] and [`failed`] what comes back ([`inbox`] is what both have in common), [`late`] what the store was too late for, [`store`]
//! where it is kept, [`waiters`] who waits, [`news`] what wakes them. [`hearing`] is what other
//! programs say: of it [`jobs`] keeps who works on what, [`retries`] what is tried
//! again, and [`needless`] stops what nobody needs.
//! [`callbacks`] tell of requests that have ended. [`open_files`] is how many connections there may be.

pub mod api;
pub mod app;
pub mod config;
pub mod consumers;
pub mod dispatch;
pub mod events;
pub mod open_files;
pub mod retention;
pub mod views;
pub mod webhooks;
