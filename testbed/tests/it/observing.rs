//! What those see who run the programs: metrics and health.

mod metrics;
pub(crate) mod processor_health;
mod prometheus;
mod workers;
