//! A whole system on this machine, for the demo and for API tests: a broker, a web service and two processors.

pub(crate) mod broker;
pub(crate) mod programs;
