//! Adds up the lines of an invoice.

use std::process::ExitCode;

use processor_service::{Context, Job, ProcessError, Processor};
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
            total += line.parse::<f64>().with_context(|| format!("line {line:?}"))?;
        }
        Ok(Total { total })
    }
}

fn main() -> ExitCode {
    processor_service::main(AddUp)
}
