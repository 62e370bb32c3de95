//! The page in a real browser: live, by keyboard, on a phone, in seven tabs, while the broker or the store is away.

mod million_rows;
mod pictures;

use std::time::Duration;

use anyhow::{Context, Result};
use testbed::{Proxy, browser::Browser, process::Process, shared_node, workspace};

use crate::support::{
    database::Database,
    stack::{Stack, Web},
};

/// How long a scenario may take. Browsers are slow on a busy machine.
const SCENARIO_TIMEOUT: Duration = Duration::from_secs(400);

/// Starts a scenario of `testbed/browser/scenarios.mjs` on the pages of these web services.
async fn start(name: &str, webs: &[&Web]) -> Result<Process> {
    let script = workspace::root().join("testbed/browser/scenarios.mjs");
    let args = [name].into_iter().chain(webs.iter().map(|web| web.base.as_str()));
    Browser::find_or_install().await?.start(&script, &args.collect::<Vec<_>>())
}

async fn passes(scenario: Process) -> Result<()> {
    scenario.succeed_within(SCENARIO_TIMEOUT).await.map(drop)
}

/// Runs a scenario on both stores, with workers that fail as their requests say.
async fn passes_on_both(name: &str) -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let _processor = stack.start_faulty(4, "1s").await?;
        passes(start(name, &[&web]).await?).await.with_context(|| database.url())?;
    }
    Ok(())
}

/// Runs a scenario on SQLite, with workers that fail as their requests say.
async fn passes_on_one(name: &str) -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let _processor = stack.start_faulty(4, "1s").await?;
    passes(start(name, &[&web]).await?).await
}

#[tokio::test]
async fn a_request_is_submitted_watched_and_ends_without_a_reload() -> Result<()> {
    passes_on_both("watched").await
}

#[tokio::test]
async fn requests_are_retried_replayed_and_cancelled_on_their_pages() -> Result<()> {
    passes_on_both("acted").await
}

#[tokio::test]
async fn many_requests_are_replayed_at_once_after_a_dry_run_and_can_be_left() -> Result<()> {
    passes_on_both("bulk").await
}

#[tokio::test]
async fn lists_change_in_place_and_go_by_keyboard() -> Result<()> {
    passes_on_one("listed").await
}

#[tokio::test]
async fn a_list_misses_nothing_that_comes_late_or_follows_rows_that_have_left() -> Result<()> {
    passes_on_one("older").await
}

#[tokio::test]
async fn times_are_shown_as_their_reader_wants_them() -> Result<()> {
    passes_on_one("timed").await
}

#[tokio::test]
async fn seven_tabs_are_live_by_one_stream() -> Result<()> {
    passes_on_both("tabs").await
}

#[tokio::test]
async fn a_page_is_live_again_after_a_proxy_has_refused_its_stream() -> Result<()> {
    passes_on_one("reopened").await
}

#[tokio::test]
async fn axe_finds_nothing_serious_and_every_page_fits_a_phone() -> Result<()> {
    passes_on_one("accessible").await
}

#[tokio::test]
async fn pages_of_two_web_services_come_to_agree() -> Result<()> {
    let (stack, database) = (Stack::fresh().await?, Database::postgres().await);
    let (one, other) = tokio::try_join!(database.web(&stack), database.web(&stack))?;
    let _processor = stack.processor(2, "1s").await?;
    passes(start("agreed", &[&one, &other]).await?).await
}

#[tokio::test]
async fn a_result_of_5_mib_does_not_freeze_its_page() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = Web::start(database.program(&stack).env("BODY_LIMIT", "8MiB")).await?;
        let processor = stack.program("processor-service").env("RESULT_LIMIT", "8MiB");
        let _processor = stack.start_processor(processor, 1, "1ms").await?;
        passes(start("long", &[&web]).await?).await.with_context(|| database.url())?;
    }
    Ok(())
}

#[tokio::test]
async fn an_open_page_says_that_the_broker_is_away_until_it_is_back() -> Result<()> {
    for database in Database::both().await? {
        let vhost = shared_node::vhost().await;
        Stack::on(&vhost.url).await?;
        let proxy = Proxy::start(vhost.address()).await?;
        let web = database.web(&Stack { url: proxy.url(&vhost.url) }).await?;
        let scenario = start("cut", &[&web]).await?;
        scenario.wait_for_text("open").await?;
        proxy.refuse().await?;
        proxy.cut();
        scenario.wait_for_text("away").await?;
        proxy.accept().await?;
        passes(scenario).await.with_context(|| database.url())?;
    }
    Ok(())
}

#[tokio::test]
async fn an_open_list_keeps_its_rows_while_the_store_is_away() -> Result<()> {
    let stack = Stack::fresh().await?;
    let database = Database::postgres().await;
    let url = database.url();
    let (_, place) = url.split_once('@').context("a user")?;
    let (address, _) = place.split_once('/').context("a database")?;
    let proxy = Proxy::start(address).await?;
    let behind = url.replace(address, &proxy.address().to_string());
    let web = Web::start(stack.program("web-service").env("DATABASE_URL", behind)).await?;
    let scenario = start("storeless", &[&web]).await?;
    scenario.wait_for_text("open").await?;
    proxy.refuse().await?;
    proxy.cut();
    scenario.wait_for_text("away").await?;
    proxy.accept().await?;
    passes(scenario).await
}
