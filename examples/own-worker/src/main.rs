//! A worker of your own: adds up the lines of an invoice.
//!
//! It is a program outside Slowlane's workspace. `docs/processors.md` tells what it can do, and what it must bear.

use std::process::ExitCode;

use processor_service::{Job, ProcessError, Processor};
use serde::{Deserialize, Serialize};

/// The `data` of a request: `{"lines": ["12.50", "7"]}`.
#[derive(Deserialize)]
struct Invoice {
    lines: Vec<String>,
}

/// Its result: `{"total": 19.5}`.
#[derive(Serialize)]
struct Total {
    total: f64,
}

struct AddUp;

impl Processor for AddUp {
    type Input = Invoice;
    type Output = Total;

    async fn process(&self, job: Job<Invoice>) -> Result<Total, ProcessError> {
        if job.input.lines.is_empty() {
            return Err(ProcessError::permanent("the invoice has no lines").with_code("empty"));
        }
        let mut total = 0.0;
        for line in &job.input.lines {
            // A line that is no number fails the request for good: it would be none in the next attempt either.
            total += line.parse::<f64>()?;
        }
        Ok(Total { total })
    }
}

fn main() -> ExitCode {
    processor_service::main(AddUp)
}
