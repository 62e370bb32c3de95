//! A worker as small as can be: every request gets its own data back, at once. `cargo xtask bench` measures with it,
//! since it adds no work.

use std::process::ExitCode;

use processor_service::{Job, ProcessError, Processor, RawValue};

struct Echo;

impl Processor for Echo {
    type Input = Box<RawValue>;
    type Output = Box<RawValue>;

    async fn process(&self, job: Job) -> Result<Box<RawValue>, ProcessError> {
        Ok(job.input)
    }
}

fn main() -> ExitCode {
    processor_service::main(Echo)
}
