//! Replays or discards many requests and messages, several at a time, with a progress bar and a summary.
//!
//! After an interruption the same command does the rest: what is done no longer counts as failed.

use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{select::Selection, target::Target};
use crate::{
    api::{client::Client, error::CallError},
    arguments::{Format, failed::Selector},
    commands::{connect::client_with_bar, interrupt::until_interrupted},
    exit::{Exit, Failure},
    output,
    settings::Settings,
};

/// How many rejections are reported one by one.
const MAX_REPORTED_REJECTIONS: u64 = 10;

const BAR: &str = "{bar:30} {human_pos} of {human_len}  {per_sec}, {eta} left  {msg}";

/// What is done with each target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BulkAction {
    Replay,
    Discard,
}

/// The outcomes so far.
#[derive(Debug)]
struct Counts {
    done: u64,
    /// Rejected by the service, or missing.
    rejected: u64,
}

impl BulkAction {
    fn past_participle(self) -> &'static str {
        match self {
            Self::Replay => "replayed",
            Self::Discard => "discarded",
        }
    }

    async fn apply(self, client: &Client, target: Target) -> Result<(), CallError> {
        match (self, target) {
            (Self::Replay, Target::Request { id, run }) => client.replay(id, run).await,
            (Self::Discard, Target::Request { id, .. }) => client.discard(id).await,
            (Self::Discard | Self::Replay, Target::Message(number)) => {
                client.discard_message(number).await
            }
        }
    }
}

/// Applies the action to the selection, or in a dry run only lists it.
pub(super) async fn run(
    settings: Settings,
    action: BulkAction,
    Selection { targets, missing }: Selection,
    selector: &Selector,
) -> Result<Exit, Failure> {
    let format = settings.format;
    if selector.dry_run {
        return dry_run(action, &targets, format);
    }
    let total = targets.len() as u64 + missing;
    let bar = bar(total - missing);
    let client = client_with_bar(settings, bar.clone())?;
    let mut counts = Counts { done: 0, rejected: missing };
    let concurrency = usize::from(selector.concurrency);
    let work = apply_to_all(&client, action, targets, concurrency, &bar, &mut counts);
    let ended = until_interrupted(work).await;
    bar.finish_and_clear();
    summary(action, total, &counts, format, &ended)?;
    match ended? {
        true if counts.rejected == 0 => Ok(Exit::Completed),
        true | false => Ok(Exit::Other),
    }
}

fn dry_run(action: BulkAction, targets: &[Target], format: Format) -> Result<Exit, Failure> {
    match format {
        Format::Text => {
            for target in targets {
                output::line(target)?;
            }
            output::note(format!("{} would be {}", targets.len(), action.past_participle()));
        }
        Format::Json => {
            let ids: Vec<_> = targets.iter().map(Target::to_string).collect();
            output::line(json!({ "dryRun": true, "chosen": ids.len(), "ids": ids }))?;
        }
    }
    Ok(Exit::Completed)
}

/// Counts targets that the service rejects. Any other error concerns all of them and ends the work.
async fn apply_to_all(
    client: &Client,
    action: BulkAction,
    targets: Vec<Target>,
    concurrency: usize,
    bar: &ProgressBar,
    counts: &mut Counts,
) -> Result<(), Failure> {
    let calls = stream::iter(targets)
        .map(async |target| (target, action.apply(client, target).await))
        .buffer_unordered(concurrency);
    let mut calls = std::pin::pin!(calls);
    while let Some((target, applied)) = calls.next().await {
        match applied {
            Ok(()) => counts.done += 1,
            Err(error @ (CallError::Rejected { .. } | CallError::NotFound(_))) => {
                counts.rejected += 1;
                if counts.rejected <= MAX_REPORTED_REJECTIONS {
                    let done = action.past_participle();
                    bar.suspend(|| output::note(format!("{target} is not {done}: {error}")));
                }
                bar.set_message(format!("{} not", counts.rejected));
            }
            Err(error) => return Err(error.into()),
        }
        bar.inc(1);
    }
    Ok(())
}

/// Without a terminal the bar draws nothing.
fn bar(total: u64) -> ProgressBar {
    if total < 2 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(BAR).expect("the template is valid");
    ProgressBar::new(total).with_style(style)
}

/// Prints the counts. `ended` is whether everything was tried.
fn summary(
    action: BulkAction,
    total: u64,
    counts: &Counts,
    format: Format,
    ended: &Result<bool, Failure>,
) -> Result<(), Failure> {
    let Counts { done, rejected } = counts;
    if !matches!(ended, Ok(true)) {
        output::note(format!(
            "stopped after {done} of {total}; the same command goes on from there"
        ));
    }
    let participle = action.past_participle();
    match format {
        // The keys are read by scripts: they stay as they are.
        Format::Json => output::answer(
            json!({ "chosen": total, "done": done, "refused": rejected, "deed": participle }),
        )?,
        Format::Text => {
            let not = if *rejected > 0 { format!(", {rejected} not") } else { String::new() };
            output::note(format!("{done} {participle}{not}"));
        }
    }
    Ok(())
}
