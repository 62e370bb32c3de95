//! What the metrics say is compared with what has happened.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::{foreign::persistent, workspace};

use super::processor_health::observed_processor;
use crate::support::{
    database::Database,
    scrape::Scrape,
    stack::{REQUESTS, Stack, Web},
    wait::settles,
};

#[tokio::test]
async fn requests_are_counted_from_the_post_to_their_end_on_both_stores() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let (_processor, at) = observed_processor(&stack, "1ms").await?;
        let mut ids = Vec::new();
        for n in 0..3 {
            ids.push(web.accepted(n.into()).await?);
        }
        for id in &ids {
            web.ended(id).await?;
        }
        let scrape = Scrape::of(&web.base).await?;
        let completed = "requests_finished_total{type=\"default\",status=\"completed\",code=\"\"}";
        for (metric, expected) in [
            ("requests_accepted_total{type=\"default\"}", 3.0),
            (completed, 3.0),
            ("publishes_total{outcome=\"confirmed\"}", 3.0),
            ("publish_confirm_duration_seconds_count", 3.0),
            ("publishes_unconfirmed", 0.0),
            ("request_queue_wait_seconds_count{type=\"default\"}", 3.0),
            ("request_duration_seconds_count{type=\"default\"}", 3.0),
            ("broker_up{role=\"publish\"}", 1.0),
            ("broker_up{role=\"consume\"}", 1.0),
            ("consumer_up{queue=\"processing.results\"}", 1.0),
            ("store_up", 1.0),
        ] {
            assert_eq!(scrape.value(metric), Some(expected), "{metric}: {}", scrape.text);
        }
        // The ack follows the result.
        let acked = "settlements_total{queue=\"processing.requests\",how=\"ack\"}";
        settles("the acks are counted", async || {
            Ok(Scrape::of(&at).await?.value(acked) == Some(3.0))
        })
        .await?;
        let scrape = Scrape::of(&at).await?;
        for (metric, expected) in [
            ("deliveries_total{queue=\"processing.requests\",redelivered=\"false\"}", 3.0),
            ("job_duration_seconds_count{type=\"default\",outcome=\"completed\"}", 3.0),
            ("publishes_total{outcome=\"confirmed\"}", 3.0),
            ("jobs_in_progress{type=\"default\"}", 0.0),
            ("host_fault", 0.0),
            ("work_blocked", 0.0),
        ] {
            assert_eq!(scrape.value(metric), Some(expected), "{metric}: {}", scrape.text);
        }
        assert!(scrape.value("last_delivery_timestamp_seconds") > Some(1e9), "{}", scrape.text);
    }
    Ok(())
}

#[tokio::test]
async fn a_code_that_a_worker_makes_up_is_counted_as_other() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, foreign) = tokio::try_join!(stack.web(), stack.foreign())?;
    for (code, counted) in [("permanent", "permanent"), ("no paper at 12:03", "other")] {
        let id = web.accepted("a".into()).await?;
        foreign.next(REQUESTS).await?;
        let error = json!({"code": code, "message": "no"});
        let body = json!({"requestId": id, "error": error}).to_string();
        foreign.publish("processing", "result", persistent(), body.as_bytes()).await?;
        web.ended(&id).await?;
        let failed = format!(
            "requests_finished_total{{type=\"default\",status=\"failed\",code=\"{counted}\"}}"
        );
        let scrape = Scrape::of(&web.base).await?;
        assert_eq!(scrape.value(&failed), Some(1.0), "{}", scrape.text);
        assert!(!scrape.text.contains("no paper"), "{}", scrape.text);
    }
    Ok(())
}

#[tokio::test]
async fn results_that_are_not_stored_are_counted_by_the_reason() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let (web, foreign) = tokio::try_join!(database.web(&stack), stack.foreign())?;
        let (done, cancelled) = (web.accepted(1.into()).await?, web.accepted(2.into()).await?);
        assert_eq!(web.delete(&cancelled).await?.0, 200);
        for (id, result) in [(done.as_str(), 1), (&done, 2), (&cancelled, 3), ("mine", 4)] {
            let body = json!({"requestId": id, "processingResults": result}).to_string();
            foreign.publish("processing", "result", persistent(), body.as_bytes()).await?;
        }
        settles("the results are counted", async || {
            let scrape = Scrape::of(&web.base).await?;
            let dropped = ["superseded", "cancelled", "foreign_id", "expired"];
            let dropped = dropped.map(|reason| {
                scrape.value(&format!("results_dropped_total{{reason=\"{reason}\"}}"))
            });
            Ok(dropped == [Some(1.0), Some(1.0), Some(1.0), Some(0.0)])
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_backlog_is_what_waits_and_what_is_worked_on() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let (_processor, at) = observed_processor(&stack, "1h").await?;
    for n in 0..3 {
        web.accepted(n.into()).await?;
    }
    settles("the backlog is counted", async || {
        let (web, processor) = tokio::try_join!(Scrape::of(&web.base), Scrape::of(&at))?;
        let of_web =
            ["queue_messages_ready{queue=\"processing.requests\"}", "backlog{type=\"default\"}"];
        let of_web = of_web.map(|metric| web.value(metric));
        let in_progress = processor.value("jobs_in_progress{type=\"default\"}");
        Ok((of_web, in_progress) == ([Some(2.0), Some(3.0)], Some(1.0)))
    })
    .await?;
    let scale: Value = web.get("/api/v1/scale").await?.json().await?;
    assert_eq!(scale, json!({"ready": 2, "inHand": 1, "backlog": 3, "workers": 1}));
    Ok(())
}

#[tokio::test]
async fn the_documentation_lists_every_metric_and_no_other() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let (_processor, at) = observed_processor(&stack, "1ms").await?;
    let id = web.accepted("a".into()).await?;
    web.ended(&id).await?;
    let (of_web, of_processor) = tokio::try_join!(Scrape::of(&web.base), Scrape::of(&at))?;
    let exported: BTreeSet<_> = of_web.names().chain(of_processor.names()).collect();
    let page = fs::read_to_string(workspace::root().join("docs/metrics.md"))?;
    let named = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed: BTreeSet<_> =
        named.map(|line| line.split(['`', '{']).next().context("a name")).collect::<Result<_>>()?;
    assert_eq!(listed, exported);
    Ok(())
}

/// A web service that has no broker says so.
#[tokio::test]
async fn a_broker_that_is_away_is_down_in_the_metrics() -> Result<()> {
    let stack = Stack { url: "amqp://127.0.0.1:1".to_owned() };
    let web = Web::start_without_broker(stack.program("web-service")).await?;
    let scrape = Scrape::of(&web.base).await?;
    assert_eq!(scrape.value("broker_up{role=\"publish\"}"), Some(0.0), "{}", scrape.text);
    let ready = "queue_messages_ready{queue=\"processing.requests\"}";
    assert_eq!(scrape.value(ready), None, "what is not known is not shown");
    assert_eq!(web.get("/api/v1/scale").await?.status(), 503, "zero would take away the workers");
    Ok(())
}
