//! Two kinds of work in one program: `sum` adds numbers, and everything else is written in capitals.
//!
//! `TYPES=default,sum cargo run -p processor-service --example by_type`

use std::process::ExitCode;

use processor_service::{Job, ProcessError, Processor, Processors};

struct Sum;

impl Processor for Sum {
    type Input = Vec<f64>;
    type Output = f64;

    async fn process(&self, job: Job<Vec<f64>>) -> Result<f64, ProcessError> {
        Ok(job.input.iter().sum())
    }
}

struct Shout;

impl Processor for Shout {
    type Input = String;
    type Output = String;

    async fn process(&self, job: Job<String>) -> Result<String, ProcessError> {
        Ok(job.input.to_uppercase())
    }
}

fn main() -> ExitCode {
    processor_service::main(Processors::new().with("sum", Sum).with("default", Shout))
}
