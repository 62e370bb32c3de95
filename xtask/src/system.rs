//! Systems of the real programs on this machine, whose events are shown: a broker, a web service, workers.

pub(crate) mod broker;
pub(crate) mod display;
pub(crate) mod launch;
pub(crate) mod log_events;
pub(crate) mod programs;
