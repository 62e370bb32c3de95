//! Child processes: started with a fixed environment, killed with their owner, their output kept line by line.
//!
//! Nothing here is tied to an async runtime: threads read the output and watch for the exit, watch channels report both.
//! So a process can be started in one test's runtime and used, or dropped, in another's.

mod child;
mod guardian;
mod history;
mod output;
mod start;

pub use rustix::process::Signal;

pub use self::{
    child::{Process, WAIT_TIMEOUT, run},
    history::Follow,
    output::{FromNow, has_message, json_message},
    start::{Start, is_proxy, minimal_env},
};
pub(crate) use start::path_with;
