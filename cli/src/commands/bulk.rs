//! `slowlane bulk`: submits each line of a file and writes the results in the order of the lines.
//!
//! An interrupted run continues where it was: [`run_state`] keeps, beside the output, the id of the run,
//! from which each line's idempotency key follows, and [`output_file`] finds where the output ends. So a
//! line is only submitted again under its old key, and only written after the line before it.

mod input_file;
mod output_file;
mod progress;
mod reorder_buffer;
mod run_state;
mod submit_line;

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::json;

use self::{
    input_file::{Lines, Survey},
    output_file::OutputFile,
    progress::Progress,
    reorder_buffer::ReorderBuffer,
    run_state::RunState,
    submit_line::submit_line,
};
use super::{connect::client_with_bar, interrupt::until_interrupted};
use crate::{
    api::client::Client,
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
    let work = submit_all(&client, &run, lines, &mut out, &progress, concurrency);
    let ended = until_interrupted(work).await;
    progress.finish();
    out.sync()?;
    summary(&bulk, &survey, &out, format, ended)
}

/// Keeps `concurrency` lines in flight, and writes each result once all before it are written. If it is
/// dropped in the middle, the output ends with a whole line.
async fn submit_all(
    client: &Client,
    run: &RunState,
    mut lines: Lines,
    out: &mut OutputFile,
    progress: &Progress,
    concurrency: usize,
) -> Result<(), Failure> {
    let mut in_flight = FuturesUnordered::new();
    let mut buffer = ReorderBuffer::default();
    let mut at_end = false;
    let mut ticks = progress::ticks();
    loop {
        while !at_end && in_flight.len() < concurrency && buffer.has_room() {
            match lines.next()? {
                Some(line) => {
                    let position = buffer.reserve();
                    let key = run.idempotency_key(line.number);
                    in_flight
                        .push(async move { (position, submit_line(client, line, &key).await) });
                }
                None => at_end = true,
            }
        }
        tokio::select! {
            done = in_flight.next() => {
                let Some((position, result)) = done else { return Ok(()) };
                buffer.insert(position, result?);
                for result in buffer.drain_ready() {
                    out.write(&result)?;
                }
                progress.show(out.counts());
            }
            _ = ticks.tick() => progress.report(out.counts()),
        }
    }
}

/// Prints the counts at the end. `ended` is whether all lines are done.
fn summary(
    bulk: &Bulk,
    survey: &Survey,
    out: &OutputFile,
    format: Format,
    ended: Result<bool, Failure>,
) -> Result<Exit, Failure> {
    let counts = out.counts();
    let (lines, done, completed) = (survey.lines, counts.written(), counts.completed);
    let failed = counts.failed;
    let exit = match &ended {
        Ok(true) if failed == 0 => Exit::Completed,
        Ok(true) => Exit::Failed,
        Ok(false) | Err(_) => Exit::Other,
    };
    if exit == Exit::Other {
        output::note(format!(
            "stopped after {done} of {lines} lines; the same command goes on from there"
        ));
    }
    match format {
        Format::Text if exit != Exit::Other => {
            let out = bulk.out.display();
            output::note(format!("{lines} lines: {completed} completed, {failed} not, see {out}"));
        }
        Format::Text => {}
        Format::Json => output::line(json!({
            "lines": lines, "done": done, "completed": completed, "failed": failed, "out": bulk.out,
        }))?,
    }
    ended.map(|_| exit)
}
