//! `slowlane bulk`: a file of data in, a file of results out, in the same order, each once.
//!
//! What makes a stopped run go on where it was: [`mod@run`] keeps, beside the output, a name for the run
//! from which each line's idempotency key follows; [`results`] finds where the output ends. So a line
//! is sent again only with its old key, and written only behind the line before it.

mod input;
mod order;
mod progress;
mod results;
mod run;
mod task;

use std::future::Future;

use futures_util::{StreamExt, stream::FuturesUnordered};
use pipeline::shutdown::Shutdown;
use serde_json::json;

use self::{
    input::{Line, Lines, Survey},
    order::Order,
    progress::Progress,
    results::Results,
    run::Run,
    task::Outcome,
};
use super::LASTS;
use crate::{
    api::{CallError, Client},
    arguments::{Bulk, Format, Settings},
    exit::{Exit, Failure},
    output,
    patience::Notes,
};

/// Sends each line of a file and writes what became of it.
pub(super) async fn run(settings: Settings, bulk: Bulk) -> Result<Exit, Failure> {
    let format = settings.format;
    let survey = Survey::of(&bulk.file)?;
    Run::check(&bulk, &survey)?;
    let mut results = Results::open(&bulk.out)?;
    let run = Run::begin_or_go_on(&bulk, &survey, results.is_empty())?;
    results.cut()?;
    let progress = Progress::new(survey.lines, results.counts());
    let retry_for = settings.retry_for.unwrap_or(LASTS);
    let client = Client::new(settings.url, retry_for, Notes::above(progress.bar()))?;
    let lines = Lines::open(&bulk.file)?.after(results.last_line());

    let work = work(&client, &run, lines, &mut results, &progress, usize::from(bulk.concurrency));
    let stop = Shutdown::on_signals().map_err(anyhow::Error::new)?.drain;
    let ended = tokio::select! {
        ended = work => ended.map(|()| true),
        () = stop.cancelled() => Ok(false),
    };
    progress.finish();
    results.sync()?;
    summary(&bulk, &survey, &results, format, ended)
}

/// Keeps as many lines under way as may be, and writes each result when its turn has come. Dropped
/// halfway, it leaves only whole lines behind.
async fn work(
    client: &Client,
    run: &Run,
    mut lines: Lines,
    results: &mut Results,
    progress: &Progress,
    concurrency: usize,
) -> Result<(), Failure> {
    let mut tasks = FuturesUnordered::new();
    let mut order = Order::default();
    let mut more = true;
    let mut ticks = progress::ticks();
    loop {
        while more && tasks.len() < concurrency && order.has_room() {
            match lines.next()? {
                Some(line) => tasks.push(numbered(order.promise(), send(client, run, line))),
                None => more = false,
            }
        }
        tokio::select! {
            done = tasks.next() => {
                let Some((place, outcome)) = done else { return Ok(()) };
                order.put(place, outcome?);
                for outcome in order.ready() {
                    results.write(&outcome)?;
                }
                progress.show(results.counts());
            }
            _ = ticks.tick() => progress.tell(results.counts()),
        }
    }
}

async fn numbered<T>(place: u64, future: impl Future<Output = T>) -> (u64, T) {
    (place, future.await)
}

async fn send(client: &Client, run: &Run, line: Line) -> Result<Outcome, CallError> {
    let key = run.key(line.number);
    task::run(client, line, &key).await
}

/// Says at the end what became of it all. `ended` is whether all lines are done.
fn summary(
    bulk: &Bulk,
    survey: &Survey,
    results: &Results,
    format: Format,
    ended: Result<bool, Failure>,
) -> Result<Exit, Failure> {
    let counts = results.counts();
    let (lines, done, completed) = (survey.lines, counts.written(), counts.completed);
    let failed = counts.failed;
    let out = bulk.out.display();
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
            output::note(format!("{lines} lines: {completed} completed, {failed} not, see {out}"));
        }
        Format::Text => {}
        Format::Json => output::line(json!({
            "lines": lines, "done": done, "completed": completed, "failed": failed, "out": bulk.out,
        }))?,
    }
    ended.map(|_| exit)
}
