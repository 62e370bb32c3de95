//! Pure decisions about a request: before the work, and after it. [`crate::worker`] carries them out.

pub(crate) mod admission;
mod copies;
pub(crate) mod incoming;
pub(crate) mod next_attempt;
pub(crate) mod outcome;
pub(crate) mod policy;
#[cfg(test)]
mod samples;
mod waiting_copies;
