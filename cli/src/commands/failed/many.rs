//! Doing something about many, a few at a time, with the sum at the end. What was stopped is gone on with
//! by the same command: what is done has not failed any more.

use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use pipeline::shutdown::Shutdown;
use serde_json::json;

use super::{super::LASTS, Target, choose::Chosen};
use crate::{
    api::{CallError, Client},
    arguments::{Choice, Format, Settings},
    exit::{Exit, Failure},
    output,
    patience::Notes,
};

/// How many refusals are told one by one.
const TOLD: u64 = 10;

const BAR: &str = "{bar:30} {human_pos} of {human_len}  {per_sec}, {eta} left  {msg}";

/// What is done about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Replay,
    Discard,
}

/// What has become of them so far.
#[derive(Debug)]
struct Sum {
    done: u64,
    refused: u64,
}

impl Deed {
    fn done(self) -> &'static str {
        match self {
            Self::Replay => "replayed",
            Self::Discard => "discarded",
        }
    }

    async fn act(self, client: &Client, target: Target) -> Result<(), CallError> {
        match (self, target) {
            (Self::Replay, Target::Request(id, run)) => client.replay(id, run).await,
            (Self::Discard, Target::Request(id, _)) => client.discard(id).await,
            (Self::Discard | Self::Replay, Target::Message(number)) => {
                client.discard_message(number).await
            }
        }
    }
}

impl Target {
    fn name(self) -> String {
        match self {
            Self::Request(id, _) => id.to_string(),
            Self::Message(number) => number.to_string(),
        }
    }
}

/// Does it about all of them, or only says so.
pub(super) async fn run(
    settings: Settings,
    deed: Deed,
    Chosen { targets, missing }: Chosen,
    choice: &Choice,
) -> Result<Exit, Failure> {
    if choice.dry_run {
        return only_say(deed, &targets, settings.format);
    }
    let (format, total) = (settings.format, targets.len() as u64 + missing);
    let bar = bar(total - missing);
    let retry_for = settings.retry_for.unwrap_or(LASTS);
    let client = Client::new(settings.url, retry_for, Notes::above(bar.clone()))?;
    let mut sum = Sum { done: 0, refused: missing };
    let work = work(&client, deed, targets, usize::from(choice.concurrency), &bar, &mut sum);
    let stop = Shutdown::on_signals().map_err(anyhow::Error::new)?.drain;
    let ended = tokio::select! {
        ended = work => ended.map(|()| true),
        () = stop.cancelled() => Ok(false),
    };
    bar.finish_and_clear();
    summary(deed, total, &sum, format, &ended)?;
    match ended? {
        true if sum.refused == 0 => Ok(Exit::Completed),
        true | false => Ok(Exit::Other),
    }
}

fn only_say(deed: Deed, targets: &[Target], format: Format) -> Result<Exit, Failure> {
    match format {
        Format::Text => {
            for target in targets {
                output::line(target.name())?;
            }
            output::note(format!("{} would be {}", targets.len(), deed.done()));
        }
        Format::Json => {
            let names: Vec<_> = targets.iter().map(|target| target.name()).collect();
            output::line(json!({ "dryRun": true, "chosen": names.len(), "ids": names }))?;
        }
    }
    Ok(Exit::Completed)
}

/// Refusals are counted; what is wrong with more than one of them ends it all.
async fn work(
    client: &Client,
    deed: Deed,
    targets: Vec<Target>,
    concurrency: usize,
    bar: &ProgressBar,
    sum: &mut Sum,
) -> Result<(), Failure> {
    let acts = stream::iter(targets)
        .map(async |target| (target, deed.act(client, target).await))
        .buffer_unordered(concurrency);
    let mut acts = std::pin::pin!(acts);
    while let Some((target, acted)) = acts.next().await {
        match acted {
            Ok(()) => sum.done += 1,
            Err(error @ (CallError::Refused { .. } | CallError::Missing(_))) => {
                sum.refused += 1;
                if sum.refused <= TOLD {
                    let name = target.name();
                    bar.suspend(|| output::note(format!("{name} is not {}: {error}", deed.done())));
                }
                bar.set_message(format!("{} not", sum.refused));
            }
            Err(error) => return Err(error.into()),
        }
        bar.inc(1);
    }
    Ok(())
}

/// Where nobody looks at a terminal, it shows nothing by itself.
fn bar(total: u64) -> ProgressBar {
    if total < 2 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(BAR).expect("the template is good");
    ProgressBar::new(total).with_style(style)
}

fn summary(
    deed: Deed,
    total: u64,
    sum: &Sum,
    format: Format,
    ended: &Result<bool, Failure>,
) -> Result<(), Failure> {
    let Sum { done, refused } = sum;
    if !matches!(ended, Ok(true)) {
        output::note(format!(
            "stopped after {done} of {total}; the same command goes on from there"
        ));
    }
    match format {
        Format::Json => output::line(
            json!({ "chosen": total, "done": done, "refused": refused, "deed": deed.done() }),
        ),
        Format::Text => {
            let not = if *refused > 0 { format!(", {refused} not") } else { String::new() };
            output::note(format!("{done} {}{not}", deed.done()));
            Ok(())
        }
    }
}
