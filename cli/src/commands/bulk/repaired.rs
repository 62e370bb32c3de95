//! Takes up what was repaired: lines that the output shows as failed, and whose requests were replayed since.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};

use super::{
    output_file::{FailedLine, OutputFile},
    progress::Progress,
    submit_line::{LineClient, LineResult},
};
use crate::{
    api::{client::Client, error::CallError, request::Status},
    exit::Failure,
    output,
};

/// The output is written anew once results of this size have come.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// Waits for the end of each of these lines whose request has not failed any more, and writes its result in place of the
/// old one.
pub(super) async fn take_up(
    client: &Client,
    failed: Vec<FailedLine>,
    out: &mut OutputFile,
    progress: &Progress,
    concurrency: usize,
) -> Result<(), Failure> {
    let repaired = repaired(client, failed, concurrency).await?;
    if repaired.is_empty() {
        return Ok(());
    }
    let lines = match repaired.len() {
        1 => "1 line that was replayed".to_owned(),
        lines => format!("{lines} lines that were replayed"),
    };
    progress.bar().suspend(|| output::note(format!("taking up {lines}")));
    let lines = LineClient::new(client, None, &progress.open, concurrency);
    let results = stream::iter(repaired).map(async |(line, id)| {
        let result = lines.wait(line, id).await;
        progress.open.remove(line);
        result
    });
    let mut results = std::pin::pin!(results.buffer_unordered(concurrency));
    let (mut ready, mut bytes) = (BTreeMap::new(), 0);
    while let Some(result) = results.next().await {
        let result: LineResult = result?;
        bytes += result.json.len();
        ready.insert(result.line, result);
        if bytes >= MAX_WAITING_BYTES {
            out.replace(std::mem::take(&mut ready))?;
            bytes = 0;
        }
    }
    out.replace(ready)
}

/// Those of the lines whose requests are no longer failed.
async fn repaired(
    client: &Client,
    failed: Vec<FailedLine>,
    concurrency: usize,
) -> Result<Vec<FailedLine>, Failure> {
    let asked = stream::iter(failed).map(async |line| (line, client.get(line.1).await));
    let mut asked = std::pin::pin!(asked.buffer_unordered(concurrency));
    let mut repaired = Vec::new();
    while let Some((line, request)) = asked.next().await {
        match request {
            Ok(request) if request.status == Status::Failed => {}
            Ok(_) => repaired.push(line),
            // It has expired, or was discarded.
            Err(CallError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(repaired)
}
