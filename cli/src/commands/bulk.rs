//! `slowlane bulk`: submits each line of a file and writes the results in the order of the lines.
//!
//! A run that is started again once failed requests were replayed takes up their results ([`repaired`]).
//!
//! An interrupted run continues where it was: [`run_state`] keeps, beside the output, the id of the run,
//! from which each line's idempotency key follows, and [`output_file`] finds where the output ends. So a
//! line is only submitted again under its old key, and only written after the line before it.

mod input_file;
mod open_lines;
mod output_file;
mod progress;
mod reorder_buffer;
mod repaired;
mod retries;
mod run_state;
mod submit_line;
mod working;

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::json;

use self::{
    input_file::{Lines, Survey},
    output_file::OutputFile,
    progress::Progress,
    reorder_buffer::ReorderBuffer,
    repaired::take_up,
    run_state::RunState,
    submit_line::LineClient,
};
use super::{connect::client_with_bar, interrupt::until_interrupted};
use crate::{
    arguments::{Bulk, Format},
    exit::{Exit, Failure},
    output,
    settings::Settings,
};

/// Submits all lines and writes their results.
pub(super) async fn run(settings: Settings, bulk: Bulk) -> Result<Exit, Failure> {
    let format = settings.format;
    let survey = Survey::of(&bulk.file)?;
    RunState::check(&bulk, &survey)?;
    let mut out = OutputFile::open(&bulk.out)?;
    let run = RunState::load_or_create(&bulk, &survey, out.is_empty())?;
    out.truncate()?;
    let progress = Progress::new(survey.lines, out.counts());
    let client = client_with_bar(settings, progress.bar())?;
    let lines = Lines::open(&bulk.file)?.after(out.last_line());
    let concurrency = usize::from(bulk.concurrency);
    let failed = out.failed_lines()?;
    let work = async {
        let kind = bulk.kind.as_deref();
        let submitting = LineClient::new(&client, kind, &progress.open, concurrency);
        submit_all(&submitting, &run, lines, &mut out, &progress, concurrency).await?;
        take_up(&client, failed, &mut out, &progress, concurrency).await
    };
    let ended = until_interrupted(showing(&progress, work)).await;
    progress.finish();
    out.sync()?;
    let later = progress.ended().saturating_sub(out.counts().lines());
    summary(&bulk, &survey, &out, later, format, ended)
}

/// Keeps `concurrency` lines in flight, and writes each result once all before it are written. If it is
/// dropped in the middle, the output ends with a whole line.
async fn submit_all(
    client: &LineClient<'_>,
    run: &RunState,
    mut lines: Lines,
    out: &mut OutputFile,
    progress: &Progress,
    concurrency: usize,
) -> Result<(), Failure> {
    let mut in_flight = FuturesUnordered::new();
    let mut buffer = ReorderBuffer::default();
    let mut at_end = false;
    loop {
        while !at_end && in_flight.len() < concurrency && buffer.has_room() {
            match lines.next()? {
                Some(line) => {
                    let position = buffer.reserve();
                    let key = run.idempotency_key(line.number);
                    in_flight.push(async move { (position, client.submit(line, &key).await) });
                }
                None => at_end = true,
            }
        }
        let Some((position, result)) = in_flight.next().await else { return Ok(()) };
        let result = result?;
        progress.line_ended(result.line, result.completed);
        buffer.insert(position, result);
        for result in buffer.drain_ready() {
            out.write(&result)?;
        }
    }
}

/// Does `work` and shows the progress again and again.
async fn showing<T>(progress: &Progress, work: impl Future<Output = T>) -> T {
    let mut ticks = progress.ticks();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => progress.tick(),
        }
    }
}

/// Prints the counts at the end. `later` is how many lines have ended, but wait for one before them; `ended` is whether all
/// lines are done.
fn summary(
    bulk: &Bulk,
    survey: &Survey,
    out: &OutputFile,
    later: u64,
    format: Format,
    ended: Result<bool, Failure>,
) -> Result<Exit, Failure> {
    let counts = out.counts();
    let (lines, done, completed) = (survey.lines, counts.lines(), counts.completed);
    let failed = counts.failed;
    let exit = match &ended {
        Ok(true) if failed == 0 => Exit::Completed,
        Ok(true) => Exit::Failed,
        Ok(false) | Err(_) => Exit::Other,
    };
    if exit == Exit::Other {
        let kept = match later {
            0 => String::new(),
            _ => format!(", and has the results of the {later} that ended after the next one"),
        };
        output::note(format!(
            "stopped after {done} of {lines} lines; the same command goes on from there{kept}"
        ));
    }
    match format {
        Format::Text if exit != Exit::Other => {
            let out = bulk.out.display();
            let hint = match failed {
                0 => "",
                _ => {
                    "; once slowlane failed replay has repaired some, the same command takes up their results"
                }
            };
            output::note(format!(
                "{lines} lines: {completed} completed, {failed} not, see {out}{hint}"
            ));
        }
        Format::Text => {}
        Format::Json => output::answer(json!({
            "lines": lines, "done": done, "completed": completed, "failed": failed, "out": bulk.out,
        }))?,
    }
    ended.map(|_| exit)
}
