//! A processor's work with its data and its result as JSON.

use serde_json::value::{RawValue, to_raw_value};

use crate::processor::{Processor, error::ProcessError, job::Job};

/// Reads the input of a job, processes it, and writes the output.
pub(crate) async fn process<P: Processor>(
    processor: &P,
    job: Job,
) -> Result<Box<RawValue>, ProcessError> {
    let output = processor.process(job.read_input()?).await?;
    to_raw_value(&output)
        .map_err(|error| ProcessError::permanent(format!("the result has no JSON form: {error}")))
}
