//! `slowlane failed replay --canary`: the service replays a few requests first and goes on while they succeed; this shows how
//! far it is.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use super::target::{Name, parse_name};
use crate::{
    api::{
        bulk_runs::{BulkRun, BulkRunDetails},
        client::Client,
    },
    arguments::{Format, failed::Selector},
    commands::{
        connect::client_with_bar,
        interrupt::{until_interrupted, until_interrupted_again},
    },
    exit::{Exit, Failure},
    output,
    settings::Settings,
    text::{escape_controls, one_line},
};

/// How often it is looked how far the service is.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

const BAR: &str = "{bar:30} {human_pos} of {human_len}  {msg}";

/// Begins the replay, and follows it to its end. After Ctrl-C it is aborted; another one ends the command at once.
pub(super) async fn run(settings: Settings, selector: &Selector) -> Result<Exit, Failure> {
    let format = settings.format;
    let (id, bar) = (Uuid::now_v7(), bar());
    let client = client_with_bar(settings, bar.clone())?;
    let (order, mut run) = (order(id, selector)?, None);
    let ended = until_interrupted(begin_and_follow(&client, id, &order, &mut run, &bar)).await;
    bar.finish_and_clear();
    match (ended, run) {
        (Ok(true), Some(run)) => {
            show(&run, format)?;
            Ok(exit(&run.details))
        }
        (Ok(_), _) => abort(&client, id).await,
        (Err(failure), run) => {
            if run.is_some() || failure.exit() == Exit::Unreachable {
                output::note(may_go_on(&client, id));
            }
            Err(failure)
        }
    }
}

/// What the service is asked to do.
fn order(id: Uuid, selector: &Selector) -> Result<Value, Failure> {
    let mut order = json!({ "runId": id, "action": "replay", "canary": true });
    if selector.ids.is_empty() {
        let filters = &selector.filters;
        let mut filter = json!({ "status": "failed" });
        for (name, value) in
            [("type", &filters.kind), ("code", &filters.code), ("group", &filters.group)]
        {
            if let Some(value) = value {
                filter[name] = json!(value);
            }
        }
        order["filter"] = filter;
        return Ok(order);
    }
    let mut ids = Vec::new();
    for name in &selector.ids {
        match parse_name(name)? {
            Name::Request(id) => ids.push(id),
            Name::Message(_) => {}
        }
    }
    order["ids"] = json!(ids);
    Ok(order)
}

/// Begins it, and looks again and again until the service does nothing more for it.
async fn begin_and_follow(
    client: &Client,
    id: Uuid,
    order: &Value,
    run: &mut Option<BulkRun>,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let run = run.insert(client.begin_bulk_run(order).await?);
    bar.set_length(run.details.count);
    let (is_terminal, mut told) = (stderr().is_terminal(), 0);
    while !run.details.is_over() {
        let details = &run.details;
        bar.set_position(details.done + details.skipped);
        bar.set_message(progress(details));
        if !is_terminal && details.batch > told {
            told = details.batch;
            output::note(progress(details));
        }
        sleep(POLL_INTERVAL).await;
        *run = client.bulk_run(id).await?;
    }
    Ok(())
}

/// Aborts it, unless that takes too long for the user or the service is away.
async fn abort(client: &Client, id: Uuid) -> Result<Exit, Failure> {
    let aborted = until_interrupted_again(async {
        output::note(format!("aborting {id}; another Ctrl-C does not wait for that"));
        Ok(client.abort_bulk_run(id).await.map(drop)?)
    })
    .await;
    output::note(match aborted {
        Ok(true) => format!("aborted: the others stay as they were ({id})"),
        Ok(false) | Err(_) => may_go_on(client, id),
    });
    aborted.map(|_| Exit::Other)
}

/// What to do with a replay that nobody follows any more.
fn may_go_on(client: &Client, id: Uuid) -> String {
    format!(
        "not aborted: the service may go on with it. Abort it later on the page at {}, or with a POST to \
         /api/v1/bulk-runs/{id}/abort",
        client.address()
    )
}

fn show(run: &BulkRun, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output::answer(one_line(run.json()))?,
        Format::Text => output::note(summary(&run.details)),
    }
    Ok(())
}

fn progress(run: &BulkRunDetails) -> String {
    let BulkRunDetails { batch, batch_size, completed, failed, pending, trouble, .. } = run;
    match trouble {
        Some(trouble) => format!("waits and tries again: {}", escape_controls(trouble, &[])),
        None => format!(
            "batch {batch}, of {batch_size}: {completed} completed and {failed} failed again in all, {pending} not ended"
        ),
    }
}

fn summary(run: &BulkRunDetails) -> String {
    let BulkRunDetails {
        phase, done, skipped, refusal, completed, failed, cancelled, pending, ..
    } = run;
    let how = match phase.as_str() {
        "stopped" => "stopped by itself, the others stay as they were: ",
        "finished" => "",
        _ => "aborted, the others stay as they were: ",
    };
    let others = [(*cancelled, "cancelled"), (*pending, "not ended"), (*skipped, "left out")];
    let others = others.iter().filter(|(count, _)| *count > 0);
    let others: String = others.map(|(count, what)| format!(", {count} {what}")).collect();
    let why = refusal.iter().map(|reason| format!(" ({})", escape_controls(reason, &[])));
    let why: String = why.collect();
    format!("{how}{done} replayed, {completed} completed, {failed} failed again{others}{why}")
}

/// Whether all is well now.
fn exit(run: &BulkRunDetails) -> Exit {
    match run.phase.as_str() {
        "finished" if run.completed == run.done => Exit::Completed,
        "finished" | "stopped" => Exit::Failed,
        _ => Exit::Other,
    }
}

/// Without a terminal the bar draws nothing.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template(BAR).expect("the template is valid");
    ProgressBar::new(0).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(json: &str) -> BulkRunDetails {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_end_is_told_with_its_true_exit_code() {
        let stopped = run(r#"{"phase":"stopped","done":5,"completed":2,"failed":3}"#);
        let text = "stopped by itself, the others stay as they were: 5 replayed, 2 completed, 3 failed again";
        assert_eq!((summary(&stopped).as_str(), exit(&stopped)), (text, Exit::Failed));
        let all = run(r#"{"phase":"finished","done":7,"completed":7,"skipped":1}"#);
        let text = "7 replayed, 7 completed, 0 failed again, 1 left out";
        assert_eq!((summary(&all).as_str(), exit(&all)), (text, Exit::Completed));
        let refused = run(r#"{"phase":"finished","skipped":2,"refusal":"There is no such type."}"#);
        let text = "0 replayed, 0 completed, 0 failed again, 2 left out (There is no such type.)";
        assert_eq!(summary(&refused), text);
        let gone = run(r#"{"phase":"finished","done":3,"completed":2,"cancelled":1}"#);
        assert_eq!(exit(&gone), Exit::Failed);
        let most = run(r#"{"phase":"finished","done":100,"completed":99,"failed":1}"#);
        assert_eq!(exit(&most), Exit::Failed);
        assert_eq!(exit(&run(r#"{"phase":"aborted"}"#)), Exit::Other);
        assert!(!run(r#"{"phase":"running"}"#).is_over() && stopped.is_over());
    }
}
