//! A Prometheus server reads the metrics, the alerts and what the dashboard asks for.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{promtool, workspace};

use super::processor_health::observed_processor;
use crate::support::{scrape::Scrape, stack::Stack};

fn deployed(file: &str) -> PathBuf {
    workspace::root().join("deploy").join(file)
}

/// The panels of the dashboard.
fn panels() -> Result<Vec<Value>> {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(deployed("grafana/slowlane.json"))?)?;
    Ok(dashboard["panels"].as_array().context("panels")?.clone())
}

/// What the panel with this title asks for first.
fn query_of(title: &str) -> Result<Value> {
    let panel = panels()?.into_iter().find(|panel| panel["title"] == title);
    Ok(panel.with_context(|| format!("no panel {title}"))?["targets"][0]["expr"].clone())
}

/// The queries of the dashboard, with a number in place of what Grafana fills in.
fn queries() -> Result<Vec<String>> {
    let panels = panels()?;
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries = targets.map(|target| {
        let query = target["expr"].as_str().context("a query")?;
        Ok(query.replace("$__rate_interval", "1m"))
    });
    queries.collect()
}

/// The names of metrics in a text.
fn metrics_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("slowlane_"))
}

#[tokio::test]
async fn promtool_finds_no_mistake_in_the_metrics() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let (_processor, at) = observed_processor(&stack, "1ms").await?;
    let id = web.accepted("a".into()).await?;
    web.ended(&id).await?;
    for base in [&web.base, &at] {
        promtool::check(&["check", "metrics"], &Scrape::of(base).await?.text).await?;
    }
    Ok(())
}

#[tokio::test]
async fn promtool_accepts_the_alerts_and_every_query_of_the_dashboard() -> Result<()> {
    let alerts = deployed("prometheus/alerts.yml");
    promtool::check(&["check", "rules", alerts.to_str().context("UTF-8")?], "").await?;
    let queries = queries()?;
    ensure!(queries.len() > 10, "{queries:?}");
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, query) in queries.iter().enumerate() {
        let query = serde_json::to_string(query)?;
        rules += &format!("  - record: panel:{number}\n    expr: {query}\n");
    }
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), rules)?;
    promtool::check(&["check", "rules", file.path().to_str().context("UTF-8")?], "").await
}

/// The file has the states and the alerts that fire in each.
#[tokio::test]
async fn alerts_tell_apart_who_is_missing_and_what_nobody_consumes() -> Result<()> {
    let states = deployed("prometheus/alerts_test.yml");
    promtool::check(&["test", "rules", states.to_str().context("UTF-8")?], "").await
}

/// Two web services count the same seven requests, of two types; and the only job of a processor never ends.
#[tokio::test]
async fn the_dashboard_adds_up_the_types_and_shows_work_that_hangs() -> Result<()> {
    let series = [
        (r#"slowlane_requests_in_hand{instance="a",type="default"}"#, "3"),
        (r#"slowlane_requests_in_hand{instance="a",type="video"}"#, "4"),
        (r#"slowlane_requests_in_hand{instance="b",type="default"}"#, "3"),
        (r#"slowlane_requests_in_hand{instance="b",type="video"}"#, "4"),
        (r#"slowlane_deliveries_total{instance="p",queue="processing.requests"}"#, "5"),
        (r#"slowlane_settlements_total{instance="p",queue="processing.requests"}"#, "4"),
        (r#"slowlane_jobs_in_progress{instance="p",type="default"}"#, "1"),
    ];
    let shown = |title: &str, labels: &str, value: u32| {
        let sample = json!({"labels": labels, "value": value});
        anyhow::Ok(json!({"expr": query_of(title)?, "eval_time": "0", "exp_samples": [sample]}))
    };
    let expected = [
        shown("Being worked on", "{}", 7)?,
        shown("Deliveries received and not finished", r#"{instance="p"}"#, 1)?,
    ];
    let series = series.map(|(series, values)| json!({"series": series, "values": values}));
    let test = json!({"tests": [{"input_series": series, "promql_expr_test": expected}]});
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), test.to_string())?;
    promtool::check(&["test", "rules", file.path().to_str().context("UTF-8")?], "").await
}

#[test]
fn alerts_and_dashboard_ask_only_for_metrics_that_are_documented() -> Result<()> {
    let page = fs::read_to_string(workspace::root().join("docs/metrics.md"))?;
    let alerts = fs::read_to_string(deployed("prometheus/alerts.yml"))?;
    let queries = queries()?.join("\n");
    for metric in metrics_in(&alerts).chain(metrics_in(&queries)) {
        let name = metric.strip_suffix("_bucket").unwrap_or(metric);
        ensure!(page.contains(&format!("`{name}")), "{metric} is not documented");
    }
    Ok(())
}
