//! Callbacks while web services are killed: each is delivered, by one of several services.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pipeline::log_messages::CALLBACK_DELIVERED;
use testbed::process::{WAIT_TIMEOUT, json_message};

use super::{accepted, callback, calling, failure, receiver::Receiver, stack};
use crate::support::{database::Database, stack::Web};

#[tokio::test]
async fn a_callback_outlives_the_web_service() -> Result<()> {
    let (stack, receiver) = (stack().await?, Receiver::start().await?);
    let dir = tempfile::tempdir()?;
    let url = format!("sqlite:{}", dir.path().join("store.db").display());
    let program = || calling(&stack).env("DATABASE_URL", &url);
    let web = Web::start(program()).await?;
    let _processor = stack.processor(2, "1ms").await?;
    let waits = accepted(&web, &receiver.url("/close")).await?;
    let tried = accepted(&web, &receiver.url("/hang")).await?;
    failure(&web, &waits).await?;
    receiver.calls("/hang", 1).await?;
    web.program.kill();
    web.program.wait().await?;
    receiver.let_go();

    let web = Web::start(program()).await?;
    callback(&web, &waits, "delivered").await?;
    // It was in the hands of the one that died, and is due again when nothing was heard for a while.
    let calls = receiver.calls("/hang", 2).await?;
    assert_eq!((calls[0].id(), &calls[0].body), (calls[1].id(), &calls[1].body));
    assert_eq!(callback(&web, &tried, "delivered").await?["attempts"], 2);
    Ok(())
}

/// Makes every transaction that leases a callback wait for ever.
const BLOCK_LEASES: &str = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql \
    AS $$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$; \
    CREATE TRIGGER wait BEFORE UPDATE ON callbacks FOR EACH ROW EXECUTE FUNCTION wait()";
/// Ends the transactions that wait: the server does not notice that their clients are dead.
const UNBLOCK_LEASES: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
    WHERE datname = current_database() AND wait_event = 'PgSleep'; DROP TRIGGER wait ON callbacks";

#[tokio::test]
async fn killed_between_the_commit_and_the_first_attempt_it_comes_all_the_same() -> Result<()> {
    let (stack, receiver) = (stack().await?, Receiver::start().await?);
    let database = Database::postgres().await;
    let start = || Web::start(calling(&stack).env("DATABASE_URL", database.url()));
    let web = start().await?;
    database.change(BLOCK_LEASES).await?;
    let id = accepted(&web, &receiver.url("/ok")).await?;
    let _processor = stack.processor(1, "1ms").await?;
    let committed = "SELECT count(*) FROM callbacks JOIN requests ON id = request_id \
        WHERE status = 1 AND calls = 0";
    let limit = Instant::now() + WAIT_TIMEOUT;
    while database.number(committed).await? == 0 {
        ensure!(Instant::now() < limit, "the request does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    web.program.kill();
    web.program.wait().await?;
    assert_eq!(receiver.count("/ok"), 0, "it was killed before");
    database.change(UNBLOCK_LEASES).await?;

    let web = start().await?;
    let calls = receiver.calls("/ok", 1).await?;
    assert_eq!(calls[0].id(), format!("{id}-0-completed"));
    assert_eq!(callback(&web, &id, "delivered").await?["attempts"], 1);
    Ok(())
}

#[tokio::test]
async fn of_two_web_services_one_tells() -> Result<()> {
    let (stack, receiver) = (stack().await?, Receiver::start().await?);
    let (server, database) = testbed::postgres::database().await;
    let url = server.url(&database);
    let start = || async { Web::start(calling(&stack).env("DATABASE_URL", &url)).await };
    let (one, other) = tokio::try_join!(start(), start())?;
    let _processor = stack.processor(4, "1ms").await?;
    let mut ids = Vec::new();
    for n in 0..60 {
        let web = if n % 2 == 0 { &one } else { &other };
        ids.push(accepted(web, &receiver.url(&format!("/ok/{n}"))).await?);
    }
    for id in &ids {
        let told = callback(&other, id, "delivered").await?;
        assert_eq!(told["attempts"], 1);
    }
    assert_eq!(receiver.count("/ok"), ids.len(), "each once");
    let told = |web: &Web| {
        let told = |line: &String| json_message(line, CALLBACK_DELIVERED).is_some();
        web.program.lines().iter().filter(|line| told(line)).count()
    };
    ensure!(told(&one) > 0 && told(&other) > 0, "both tell: {} and {}", told(&one), told(&other));
    Ok(())
}
