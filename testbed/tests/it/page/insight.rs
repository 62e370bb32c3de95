//! What pages tell beside the status: each attempt, failures by group, what happened over time, and why a request waits.

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use serde_json::{Value, json};

use crate::{
    page::{
        forms::sent,
        served::{page, shows},
    },
    support::{
        database::Database,
        foreign_worker::{fail, next_request},
        stack::Stack,
        wait::settles,
    },
};

#[tokio::test]
async fn the_page_of_a_request_shows_each_attempt_with_its_error() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        web.program.wait_for_message(log_messages::RECEIVING_CONTROL).await?;
        let _processor = stack.start_faulty(1, "100ms").await?;
        let id = web.accepted(json!({"fail": 2})).await?;
        web.ended(&id).await?;
        let path = format!("/requests/{id}");
        for attempt in ["Attempt 1 failed", "Attempt 2 failed", "Attempt 3 completed"] {
            shows(&web, &path, attempt).await?;
        }
        let html = page(&web, &path).await?;
        let errors = html.matches("<b class=\"code\">transient</b> as ordered").count();
        assert_eq!(errors, 2, "{html}");
        ensure!(!html.contains("Why it has not ended"), "{html}");
    }
    Ok(())
}

#[tokio::test]
async fn failures_are_listed_by_group_and_one_group_is_replayed() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let _processor = stack.start_faulty(1, "100ms").await?;
    let mut ids = Vec::new();
    for message in ["no such file 7", "a mistake", "no such file 8"] {
        let id = web.accepted(json!({"permanent": message})).await?;
        ensure!(web.ended(&id).await?["status"] == "failed");
        ids.push(id);
    }
    let html = page(&web, "/failed").await?;
    let (_, groups) = html.split_once("<tbody>").context("groups")?;
    let groups: Vec<_> = groups.split("<tr").skip(1).collect();
    assert_eq!(groups.len(), 2, "{html}");
    ensure!(groups[0].contains("no such file") && groups[0].contains(">2<"), "{html}");
    ensure!(groups[1].contains("a mistake") && groups[1].contains(">1<"), "{html}");

    let link = groups[0].split('"').find(|text| text.starts_with("bulk?action=replay"));
    let link = link.context("a link to replay")?.replace("&amp;", "&");
    let dry_run = web.get(&format!("/{link}")).await?.text().await?;
    ensure!(dry_run.contains("Replay 2 requests?"), "{dry_run}");
    let group = link.rsplit('=').next().context("a group")?;
    let newest = hidden(&dry_run, "newest")?;
    let fields = [
        ("action", "replay"),
        ("status", "failed"),
        ("group", group),
        ("newest", newest),
        ("count", "2"),
    ];
    let begun = sent(&web, "/bulk", &fields).await?;
    ensure!(begun.url().path().starts_with("/bulk/"), "{}", begun.url());
    shows(&web, begun.url().path(), "Finished").await?;
    for (id, run) in ids.iter().zip([1, 0, 1]) {
        assert_eq!(web.request(id).await?["run"], run);
    }
    Ok(())
}

#[tokio::test]
async fn a_group_is_replayed_a_few_first_and_the_page_tells_how_that_ended() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let _processor = stack.start_faulty(2, "100ms").await?;
    for number in 0..7 {
        let id = web.accepted(json!({"permanent": format!("no file {number}")})).await?;
        ensure!(web.ended(&id).await?["status"] == "failed");
    }
    let html = page(&web, "/failed").await?;
    let link = html.split('"').find(|text| text.contains("canary=true")).context("a link")?;
    let link = link.replace("&amp;", "&");
    let dry_run = web.get(&format!("/{link}")).await?.text().await?;
    ensure!(dry_run.contains("Replay 7 requests, a few first?"), "{dry_run}");
    let group = link.rsplit('=').next().context("a group")?;
    let fields = [("action", "replay"), ("canary", "true"), ("group", group), ("count", "7")];
    let begun = sent(&web, "/bulk", &fields).await?;
    let path = begun.url().path().to_owned();
    shows(&web, &path, "Begins").await?;
    shows(&web, &path, "Stopped by itself").await?;
    ensure!(page(&web, &path).await?.contains("5 requests were changed"));
    ensure!(page(&web, "/failed").await?.contains(path.trim_start_matches('/')));
    Ok(())
}

#[tokio::test]
async fn an_action_on_many_that_finds_none_leaves_those_alone_that_come_later() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let fields = [("action", "cancel"), ("status", "queued"), ("count", "0")];
    let begun = sent(&web, "/bulk", &fields).await?;
    let path = begun.url().path().to_owned();
    shows(&web, &path, "Begins").await?;
    let later = web.accepted("later".into()).await?;
    shows(&web, &path, "Finished").await?;
    assert_eq!(web.request(&later).await?["status"], "queued");
    Ok(())
}

#[tokio::test]
async fn what_fails_after_the_dry_run_is_not_among_those_that_are_discarded() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, foreign) = (stack.web().await?, stack.foreign().await?);
    let late = web.accepted("late".into()).await?;
    assert_eq!(next_request(&foreign).await?.json()?["requestId"], *late);
    let early = web.failed(&foreign, "early".into()).await?;
    let dry_run = web.get("/bulk?action=discard&status=failed").await?.text().await?;
    ensure!(dry_run.contains("Discard 1 request?"), "{dry_run}");
    fail(&foreign, &late, 0).await?;
    ensure!(web.ended(&late).await?["status"] == "failed");
    let [newest, at] = [hidden(&dry_run, "newest")?, hidden(&dry_run, "at")?];
    let fields = [
        ("action", "discard"),
        ("status", "failed"),
        ("newest", newest),
        ("at", at),
        ("count", "1"),
    ];
    let begun = sent(&web, "/bulk", &fields).await?;
    shows(&web, begun.url().path(), "Finished").await?;
    assert_eq!(web.request(&late).await?["status"], "failed");
    assert_eq!(web.get(&format!("/api/v1/requests/{early}")).await?.status(), 410);
    Ok(())
}

/// The value of a hidden field of a form.
fn hidden<'a>(html: &'a str, name: &str) -> Result<&'a str> {
    let field = html.split(&format!("name=\"{name}\" value=\"")).nth(1);
    field.and_then(|value| value.split('"').next()).with_context(|| format!("no field {name}"))
}

#[tokio::test]
async fn a_form_that_is_sent_twice_begins_one_action_on_many_and_another_one_after_its_end()
-> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let run = uuid::Uuid::now_v7().to_string();
    let fields = [("action", "cancel"), ("status", "queued"), ("count", "0"), ("run", &run)];
    let path = format!("/bulk/{run}");
    for _ in 0..2 {
        assert_eq!(sent(&web, "/bulk", &fields).await?.url().path(), path);
    }
    sent(&web, &format!("{path}/stop"), &[]).await?;
    shows(&web, &path, "Undone").await?;
    assert_ne!(sent(&web, "/bulk", &fields).await?.url().path(), path);
    Ok(())
}

/// What a page says happened, by the table of its chart: accepted, completed, cancelled and failed.
fn charted(html: &str) -> Result<[u64; 4]> {
    let (_, table) = html.split_once("<div class=\"hidden\"><table>").context("a table")?;
    let (table, _) = table.split_once("</table>").context("its end")?;
    let mut sums = [0; 4];
    for row in table.split("<tr>") {
        for (sum, cell) in sums.iter_mut().zip(row.split("<td>").skip(2)) {
            *sum += cell.split('<').next().context("a number")?.parse::<u64>()?;
        }
    }
    Ok(sums)
}

#[tokio::test]
async fn the_chart_of_the_overview_says_what_happened_also_in_a_table() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        assert_eq!(charted(&page(&web, "/").await?)?, [0; 4]);
        let foreign = stack.foreign().await?;
        web.failed(&foreign, 1.into()).await?;
        let cancelled = web.accepted(2.into()).await?;
        sent(&web, &format!("/requests/{cancelled}/cancel"), &[]).await?;
        web.accepted(3.into()).await?;
        settles("the chart", async || {
            Ok(charted(&page(&web, "/?range=1h").await?)? == [3, 0, 1, 1])
        })
        .await?;
        for path in ["/", "/?range=24h", "/?range=7d", "/?range=1y"] {
            let html = page(&web, path).await?;
            assert_eq!(charted(&html)?, [3, 0, 1, 1], "{path}: {html}");
            let said = "3 requests accepted, 0 completed, 1 cancelled, 1 failed";
            ensure!(html.contains("<svg ") && html.contains(said), "{path}: {html}");
        }
        let stats: Value = web.get("/api/v1/stats?range=1h").await?.json().await?;
        let series = stats["series"].as_array().context("a series")?;
        let html = page(&web, "/").await?;
        for bucket in series.iter().filter(|bucket| bucket["accepted"] != 0) {
            let at = bucket["at"].as_str().context("a time")?;
            ensure!(html.contains(&format!("<tr><td><time datetime=\"{at}\"")), "{at}: {html}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_page_of_a_request_that_waits_says_why() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let id = web.accepted(1.into()).await?;
        let path = format!("/requests/{id}");
        shows(&web, &path, "No worker consumes requests, and 1 wait").await?;
        ensure!(page(&web, &path).await?.contains("Why it has not ended"));
        sent(&web, &format!("{path}/cancel"), &[]).await?;
        ensure!(!page(&web, &path).await?.contains("Why it has not ended"));
    }
    Ok(())
}
