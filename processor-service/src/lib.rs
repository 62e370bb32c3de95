//! The workers of Slowlane: take requests one at a time, do the slow work, send the result, and
//! only then let go of the request.
//!
//! Rust users bring their own work: implement [`Processor`] and call [`run`].
//!
//! [`worker`] handles one delivery: [`received`] is what its message says, [`receipt`] decides what to do with it, [`room`]
//! says who may work beside whom, [`jobs`] runs the work, [`outcome`] decides what its end means, [`in_hand`] knows what
//! all workers have and tells those who ask by [`control`], [`processors`] are the kinds of work that
//! come with the program.

pub mod app;
pub mod config;
pub mod control;
pub mod in_hand;
pub mod jobs;
pub mod outcome;
mod processor;
pub mod processors;
pub mod receipt;
pub mod received;
pub mod room;
pub mod worker;

pub use app::run;
pub use config::Config;
pub use processor::{Again, Job, ProcessError, Processor};
