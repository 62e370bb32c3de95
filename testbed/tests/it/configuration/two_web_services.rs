//! Two web services on SQLite: one works, the other says why it doesn't, and takes over.

use anyhow::{Result, ensure};
use pipeline::log_messages::{CONSUMING, WAITING_FOR_SQLITE};
use testbed::{Proxy, Signal, shared_node};

use crate::support::{
    database::Database,
    stack::{Stack, Web},
};

/// What the health of a web service says whose file another one uses.
const IN_USE: &str = "another web service uses";

async fn is_refused(web: &Web, reason: &str) -> Result<()> {
    web.not_ready("store", reason).await?;
    let answer = web.post_body("{\"data\":1}").await?;
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status == 503 && text.contains(reason), "{status} {text}");
    Ok(())
}

#[tokio::test]
async fn the_second_on_a_virtual_host_warns_with_the_sentence_of_its_health() -> Result<()> {
    let stack = Stack::fresh().await?;
    let first = stack.web().await?;
    let second = Web::start_without_broker(stack.program("web-service")).await?;
    is_refused(&second, WAITING_FOR_SQLITE).await?;
    let warning = second.program.wait_for_message(WAITING_FOR_SQLITE).await?;
    assert_eq!(warning["level"], "WARN");
    first.program.kill();
    second.ready().await
}

#[tokio::test]
async fn the_second_on_a_file_waits_for_it_whatever_the_brokers_are() -> Result<()> {
    let (one, other) = (Stack::fresh().await?, Stack::fresh().await?);
    let database = Database::sqlite()?;
    let first = database.web(&one).await?;
    let id = first.accepted("kept".into()).await?;
    let second = Web::start_without_broker(database.program(&other)).await?;
    is_refused(&second, IN_USE).await?;
    second.program.wait_for_text(IN_USE).await?;
    assert_eq!(first.request(&id).await?["status"], "queued");
    first.program.kill();
    second.ready().await?;
    assert_eq!(second.request(&id).await?["status"], "queued");
    second.accepted("more".into()).await?;
    Ok(())
}

/// While it is frozen, the broker ends its connection, and with it the lock of the virtual host. The second must not
/// take that one: it could not work without the file, nor the first without the lock.
#[tokio::test]
async fn the_first_goes_on_after_it_was_frozen_with_the_file() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let (proxy, stack) = (Proxy::start(vhost.address()).await?, Stack::on(&vhost.url).await?);
    let database = Database::sqlite()?;
    let first = database.web(&Stack { url: proxy.url(&vhost.url) }).await?;
    let second = Web::start_without_broker(database.program(&stack)).await?;
    is_refused(&second, IN_USE).await?;
    let from_now = first.program.from_now();
    first.program.signal(Signal::STOP);
    proxy.cut();
    is_refused(&second, IN_USE).await?;
    first.program.signal(Signal::CONT);
    from_now.wait_for_message(CONSUMING).await?;
    first.ready().await?;
    first.accepted("on".into()).await?;
    is_refused(&second, IN_USE).await?;
    first.program.terminate();
    second.ready().await
}
