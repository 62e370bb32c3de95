//! `slowlane doctor`: what is configured wrongly is found, and nothing where all is well.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use pipeline::topology::{AckTimeoutSetBy, QueueType};
use serde_json::{Value, json};
use testbed::{
    Proxy,
    foreign::{arguments, persistent, types::AMQPValue},
    shared_node::{self, Vhost},
};

use crate::support::{
    database::Database,
    slowlane::run_slowlane,
    stack::{RESULTS, Stack, Web},
    wait::settles,
};

/// The checks that found something, with what was said.
async fn findings(web: &Web) -> Result<(BTreeSet<String>, Value)> {
    let said = run_slowlane(&web.base, &["doctor", "--output", "json"]).await?;
    let told = said.json()?;
    let findings = told["findings"].as_array().context("a list")?;
    let checks = findings.iter().map(|it| it["check"].as_str().unwrap_or_default().to_owned());
    let checks: BTreeSet<_> = checks.collect();
    ensure!(said.code == Some(i32::from(!checks.is_empty())), "{}", said.text);
    for finding in findings {
        let mend = finding["mend"].as_str().unwrap_or_default();
        ensure!(!mend.is_empty(), "nothing mends {finding}");
    }
    Ok((checks, told))
}

fn set<const N: usize>(checks: [&str; N]) -> BTreeSet<String> {
    checks.into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn where_all_is_well_nothing_is_found_and_what_can_not_be_seen_is_said() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let _processor = stack.processor(1, "1ms").await?;
        let (found, told) = findings(&web).await?;
        ensure!(found.is_empty(), "{told}");
        let unseen = told["unseen"].to_string();
        ensure!(unseen.contains("policies") && unseen.contains("list_policies"), "{unseen}");
        let said = run_slowlane(&web.base, &["doctor"]).await?;
        ensure!(said.code == Some(0), "{}", said.text);
        ensure!(said.text.contains("can't see  policies"), "{}", said.text);
        ensure!(said.text.contains("nothing wrong was found"), "{}", said.text);
        // A look at the system leaves nothing behind.
        let ready: Value = web.get("/health/ready").await?.json().await?;
        ensure!(ready["status"] == "ready", "{ready}");
    }
    Ok(())
}

/// A server whose clock is a year ahead, and which may lose what was committed, as every program sees it that connects from
/// now on.
const BAD_SERVER: &str = "CREATE SCHEMA bad; \
    CREATE FUNCTION bad.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE \
    AS $$ SELECT pg_catalog.clock_timestamp() + interval '1 year' $$; \
    CREATE FUNCTION bad.current_setting(text) RETURNS text LANGUAGE sql STABLE \
    AS $$ SELECT CASE $1 WHEN 'fsync' THEN 'off' ELSE pg_catalog.current_setting($1) END $$; \
    DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, bad, pg_catalog', \
    current_database()); END $$";

/// Eight at once: a queue with other arguments, a retry queue that nobody declared, no worker, a message that nobody can read, an
/// alternate exchange, a worker's clock that is ahead, and the database's, and a database that does not wait for its disk. Each
/// with what mends it.
const EIGHT: [(&str, &str); 8] = [
    ("arguments", "rabbitmqctl delete_queue --vhost VHOST processing.results, setup"),
    ("missing", "setup, with the same RETRY_DELAYS for all programs"),
    ("workers", "start processor-service"),
    ("unreadable", "rabbitmqctl purge_queue --vhost VHOST processing.unreadable"),
    ("alternate-exchange", "rabbitmqctl clear_policy --vhost VHOST NAME"),
    ("worker-clock", "timedatectl set-ntp true"),
    ("store-clock", "timedatectl set-ntp true"),
    ("database", "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()"),
];

/// Whether these checks, and no others, found something, and each names what mends it.
fn are_found(told: &Value, expected: &[(&str, &str)]) -> bool {
    let findings = told["findings"].as_array().cloned().unwrap_or_default();
    let is_of = |finding: &Value, check: &str, mend: &str| {
        finding["check"] == check && finding["mend"].as_str().is_some_and(|it| it.contains(mend))
    };
    findings.iter().all(|it| expected.iter().any(|(check, mend)| is_of(it, check, mend)))
        && expected.iter().all(|(check, mend)| findings.iter().any(|it| is_of(it, check, mend)))
}

#[tokio::test]
async fn eight_misconfigurations_of_one_system_are_all_found_with_what_mends_each() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let stack = Stack { url: vhost.url.clone() };
    let foreign = stack.foreign().await?;
    let classic = [("x-queue-type", AMQPValue::LongString("classic".into()))];
    foreign.declare_queue(RESULTS, arguments(classic)).await?;
    let database = Database::postgres().await;
    database.change(BAD_SERVER).await?;
    let web = Web::start(database.program(&stack).env("RETRY_DELAYS", "1s,7s")).await?;
    foreign.publish("processing", "unreadable", persistent(), b"?").await?;
    foreign.declare_queue("unrouted", arguments([])).await?;
    foreign.bind("unrouted", "amq.fanout", "").await?;
    vhost.set_alternate_exchange(&vhost.name, "processing", "amq.fanout").await?;
    let event = json!({
        "requestId": "01890000-0000-7000-8000-000000000000",
        "event": "request.started",
        "at": "2999-01-01T00:00:00.000Z",
        "worker": "ahead:1/1",
    });
    let mut told = Value::Null;
    let found = settles("all are found", async || {
        // The web service may not have been listening yet, and a policy takes effect a moment later.
        let event = event.to_string();
        foreign
            .publish("processing.events", "request.started", persistent(), event.as_bytes())
            .await?;
        told = findings(&web).await?.1;
        Ok(are_found(&told, &EIGHT))
    });
    found.await.with_context(|| told.to_string())
}

#[tokio::test]
async fn work_that_may_outlast_its_broker_is_found_where_the_queue_says_so() -> Result<()> {
    for (kind, queue_type) in [("quorum", QueueType::Quorum), ("classic", QueueType::Classic)] {
        let vhost = shared_node::vhost().await;
        let set_by = AckTimeoutSetBy::of(queue_type, vhost.version());
        let set_by = set_by.context("a release")?;
        let stack = Stack { url: vhost.url.clone() };
        let setup = stack.setup().env("QUEUE_TYPE", kind).start()?;
        ensure!(setup.wait().await?.success(), "{kind}");
        let _processor = stack.processor(1, "1ms").await?;
        let web = Web::start(stack.program("web-service").env("JOB_TIMEOUT", "2h")).await?;
        let (found, told) = findings(&web).await?;
        let is_seen = set_by == AckTimeoutSetBy::Queue;
        ensure!(found.contains("ack-timeout") == is_seen, "{kind}: {told}");
        let has_command = told["unseen"].to_string().contains("grep consumer_timeout");
        ensure!(has_command == (set_by == AckTimeoutSetBy::Broker), "{kind}: {told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_user_without_the_permission_to_write_is_found() -> Result<()> {
    let vhost = shared_node::vhost().await;
    Stack::on(&vhost.url).await?;
    let user = format!("reader-{}", vhost.name);
    let permissions = [".*", r"^processing\.(instance|web).*", ".*"];
    vhost.add_user(&user, "s3cret", &vhost.name, permissions).await?;
    let web = Stack { url: vhost.url_as(&user, "s3cret", &vhost.name) }.web().await?;
    let _processor = Stack { url: vhost.url.clone() }.processor(1, "1ms").await?;
    let (found, told) = findings(&web).await?;
    ensure!(found.contains("confirms"), "{told}");
    ensure!(told["findings"].to_string().contains("set_permissions"), "{told}");
    ensure!(told["findings"].to_string().contains("list_user_permissions"), "{told}");
    ensure!(!told.to_string().contains("s3cret"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_limit_of_connections_that_is_reached_is_found() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let web = stack.web().await?;
    let _processor = stack.processor(1, "1ms").await?;
    limit_connections(&vhost, 1).await?;
    let (found, told) = findings(&web).await?;
    ensure!(found == set(["connection"]), "{told}");
    let limit = format!("rabbitmqctl set_vhost_limits --vhost '{}'", vhost.name);
    ensure!(are_found(&told, &[("connection", limit.as_str())]), "{told}");
    limit_connections(&vhost, -1).await?;
    let (found, told) = findings(&web).await?;
    ensure!(found.is_empty(), "{told}");
    Ok(())
}

async fn limit_connections(vhost: &Vhost, limit: i32) -> Result<()> {
    let limit = format!("{{\"max-connections\": {limit}}}");
    vhost.ctl(&["set_vhost_limits", "-p", &vhost.name, &limit]).await.map(drop)
}

#[tokio::test]
async fn a_broker_that_confirms_nothing_is_found() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let proxy = Proxy::start(vhost.address()).await?;
    let web = stack.program("web-service").env("AMQP_URL", proxy.url(&vhost.url));
    let web = Web::start(web).await?;
    let _processor = stack.processor(1, "1ms").await?;
    // Another message may be the next one that is confirmed.
    settles("it is found", async || {
        proxy.swallow_confirm();
        let (found, told) = findings(&web).await?;
        Ok(found.contains("confirms") && told.to_string().contains("rabbitmqctl status"))
    })
    .await
}

#[tokio::test]
async fn a_second_web_service_on_sqlite_and_a_broker_that_is_away_are_found() -> Result<()> {
    let stack = Stack::fresh().await?;
    let _first = stack.web().await?;
    let second = Web::start_without_broker(stack.program("web-service")).await?;
    settles("it is told of", async || Ok(findings(&second).await?.0.contains("store"))).await?;
    let nobody = Stack { url: "amqp://127.0.0.1:1".to_owned() };
    let web = Web::start_without_broker(nobody.program("web-service")).await?;
    let (found, told) = findings(&web).await?;
    ensure!(found.contains("broker.publish") && found.contains("connection"), "{told}");
    Ok(())
}
