//! What callers and operators are told while the broker is away: where it should be, and what the system says.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Proxy, shared_node};

use crate::support::{
    database::Database,
    stack::{Stack, Web},
};

async fn submit_batch(web: &Web) -> Result<Value> {
    let post = web.client.post(format!("{}/api/v1/processData/batch", web.base));
    let post = post.header("content-type", "application/x-ndjson").body("{\"data\":1}\n");
    Ok(serde_json::from_str(post.send().await?.text().await?.trim())?)
}

#[tokio::test]
async fn every_call_says_why_the_broker_is_away_whatever_the_store() -> Result<()> {
    for database in Database::both().await? {
        let vhost = shared_node::vhost().await;
        let stack = Stack::on(&vhost.url).await?;
        let proxy = Proxy::start(vhost.address()).await?;
        let web = database.web(&Stack { url: proxy.url(&vhost.url) }).await?;
        let failed = web.failed(&stack.foreign().await?, "a".into()).await?;
        let queued = web.accepted("b".into()).await?;
        proxy.refuse().await?;
        proxy.cut();
        let at = format!("RabbitMQ at {} can't be reached", proxy.address());
        let reason = format!("{at}: Connection refused (os error 111)");
        web.not_publishing(&reason).await?;
        web.not_ready("broker.consume", &reason).await?;
        if matches!(database, Database::File(_)) {
            web.not_ready("store", &format!("SQLite there: {reason}")).await?;
        }
        let answer = web.post_body("{\"data\":1}").await?;
        ensure!(answer.status() == 503 && answer.headers().contains_key("retry-after"));
        let submitted: Value = answer.json().await?;
        let line = submit_batch(&web).await?;
        let (status, replayed) = web.replay(&failed).await?;
        assert_eq!((status, &line["status"]), (503, &json!(503)));
        for problem in [&submitted, &line["error"], &replayed] {
            let detail = format!("Nothing was sent, try again: {reason}.");
            let expected = (&json!("unavailable"), &json!(detail));
            assert_eq!((&problem["type"], &problem["detail"]), expected);
        }
        // Nothing has to be sent for it.
        let (status, cancelled) = web.delete(&queued).await?;
        assert_eq!((status, &cancelled["status"]), (200, &json!("cancelled")));
        proxy.accept().await?;
        web.ready().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_is_away_is_named_also_while_the_broker_is() -> Result<()> {
    let nobody = format!("amqp://127.0.0.1:{}", testbed::ports::free()?);
    let port = testbed::ports::free()?;
    let urls = [
        (format!("postgres://u:p@127.0.0.1:{port}/d"), "PostgreSQL"),
        ("sqlite:no/such/folder/slowlane.db".to_owned(), "no/such/folder/slowlane.db"),
    ];
    for (url, named) in urls {
        let web = Stack { url: nobody.clone() }.program("web-service").env("DATABASE_URL", url);
        let web = Web::start_without_broker(web).await?;
        web.not_ready("store", named).await?;
        web.not_publishing("can't be reached: Connection refused (os error 111)").await?;
        let problem: Value = web.post_body("{\"data\":1}").await?.json().await?;
        ensure!(problem["detail"].to_string().contains(named), "{problem}");
    }
    Ok(())
}
