//! Results that arrive twice: the first one counts, also after restarts.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::RESULT_DROPPED;
use serde_json::{Value, json};
use testbed::{
    Proxy,
    foreign::{AMQPValue, Properties, arguments},
    process::json_message,
    shared_node,
};

use crate::support::{
    database::Database,
    scrape::Scrape,
    stack::{RESULTS, Stack, Web},
    wait::settles,
};

const DUPLICATES: usize = 50;

#[tokio::test]
async fn of_two_results_the_first_is_shown_also_after_a_restart() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let foreign = stack.foreign().await?;
        let publish = async |id: &str, result: Value| {
            let body = json!({"requestId": id, "processingResults": result}).to_string();
            foreign.publish("processing", "result", Properties::default(), body.as_bytes()).await
        };
        let id = web.accepted("a".into()).await?;
        publish(&id, "first".into()).await?;
        publish(&id, "second".into()).await?;
        after_all_others(&web, &publish).await?;
        let shown = text(&web, &id).await?;
        ensure!(shown.contains("\"first\"") && !shown.contains("second"), "{shown}");

        web.program.kill();
        web.program.wait().await?;
        let web = database.web(&stack).await?;
        publish(&id, "third".into()).await?;
        after_all_others(&web, &publish).await?;
        assert_eq!(text(&web, &id).await?, shown);

        web.program.terminate();
        web.program.wait().await?;
        // What a consumer had and did not settle is back when it is gone.
        let gone = async || Ok(foreign.depth(RESULTS).await?.consumers == 0);
        settles("the consumer of results", gone).await?;
        assert_eq!(foreign.depth(RESULTS).await?.messages, 0, "all were settled");
    }
    Ok(())
}

/// A result that was published later is stored: all before it were dealt with.
async fn after_all_others(
    web: &Web,
    publish: &impl AsyncFn(&str, Value) -> Result<()>,
) -> Result<()> {
    let later = web.accepted("later".into()).await?;
    publish(&later, "later".into()).await?;
    web.ended(&later).await.map(drop)
}

async fn text(web: &Web, id: &str) -> Result<String> {
    Ok(web.ask(id, 0).await?.error_for_status()?.text().await?)
}

#[tokio::test]
async fn results_that_come_again_after_a_kill_between_commit_and_ack_count_once() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let database = Database::postgres().await;
    let proxy = Proxy::start(vhost.address()).await?;
    let behind = Stack { url: proxy.url(&vhost.url) };
    let web = database.web(&behind).await?;
    let early = stack.processor(4, "1ms").await?;
    web.warm_up().await?;
    early.terminate();
    early.wait().await?;
    let mut ids = Vec::new();
    for n in 0..DUPLICATES {
        ids.push(web.accepted(n.into()).await?);
    }
    // From now on it hears the broker, and the broker doesn't hear it.
    proxy.mute();
    let _processor = stack.processor(4, "1ms").await?;
    let mut shown = Vec::new();
    for id in &ids {
        assert_eq!(web.ended(id).await?["status"], "completed");
        shown.push(text(&web, id).await?);
    }
    let other = Web::start(database.program(&stack).env("RUST_LOG", "debug")).await?;
    web.program.kill();
    web.program.wait().await?;
    let foreign = stack.foreign().await?;
    let mut finished = foreign.listen("processing.events", "requests.finished").await?;
    proxy.cut();
    let mut again = 0;
    let all_again = |line: &str| {
        again += usize::from(json_message(line, RESULT_DROPPED).is_some());
        (again == DUPLICATES).then_some(())
    };
    other.program.wait_for("all results once more", all_again).await?;
    // Who committed them might have been killed before it told of them.
    let told: HashSet<String> = ids.iter().cloned().collect();
    assert_eq!(other.logged_results(), told);
    let mut heard = HashSet::new();
    while heard != told {
        let event = finished.next().await?.json()?;
        let requests = event["requests"].as_array().context("requests")?.iter();
        heard.extend(requests.filter_map(|one| Some(one["requestId"].as_str()?.to_owned())));
    }
    for (id, shown) in ids.iter().zip(shown) {
        assert_eq!(text(&other, id).await?, shown);
    }
    Ok(())
}

/// Of a worker that names itself and the time, as ours do.
#[tokio::test]
async fn a_result_whose_commit_was_not_answered_is_logged_counted_and_announced() -> Result<()> {
    let (stack, database) = (Stack::fresh().await?, Database::postgres().await);
    let (web, proxy) = database.web_behind_proxy(&stack).await?;
    let foreign = stack.foreign().await?;
    let mut finished = foreign.listen("processing.events", "requests.finished").await?;
    let id = web.accepted("a".into()).await?;
    let text = |text: &str| AMQPValue::LongString(text.into());
    let headers = arguments([
        ("slowlane-worker", text("elsewhere:1/1")),
        ("slowlane-finished-at", text("2026-01-01T00:00:00.000Z")),
    ]);
    let properties = Properties::default().with_headers(headers);
    let body = json!({"requestId": id, "processingResults": 1}).to_string();
    let published = foreign.publish("processing", "result", properties, body.as_bytes());
    database.lose_answer(&proxy, published).await?;
    web.result(&id).await?;
    let told = finished.next().await?.json()?;
    assert_eq!(told["requests"], json!([{"requestId": id, "status": "completed"}]));
    let scrape = Scrape::of(&web.base).await?;
    let completed = "requests_finished_total{type=\"default\",status=\"completed\",code=\"\"}";
    assert_eq!(scrape.value(completed), Some(1.0), "{}", scrape.text);
    Ok(())
}
