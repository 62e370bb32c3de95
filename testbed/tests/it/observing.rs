//! What those see who run the programs: metrics and health.

mod forgotten_consumers;
mod metrics;
mod processor_health;
mod prometheus;
mod traces;
mod workers;
