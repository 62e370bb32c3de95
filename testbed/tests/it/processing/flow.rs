//! A request becomes a result, for our own and foreign publishers, over one and more processors.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use serde_json::{Value, json};
use testbed::{
    Program,
    foreign::{ExchangeKind, FieldTable, Properties},
    process::json_message,
    shared_node,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::stack::{FAILED, REQUESTS, RESULTS, Stack, Web};

#[tokio::test]
async fn a_request_is_processed_and_its_result_logged() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(1, "20ms"))?;
    let answer = web.post_body("{\"data\": \"hello\"}").await?;
    assert_eq!(answer.status(), 202);
    let location = answer.headers()["location"].to_str()?.to_owned();
    let body: Value = answer.json().await?;
    let id = body["requestId"].as_str().context("an id")?;
    assert_eq!(location, format!("/api/v1/requests/{id}"));
    let result = web.result(id).await?;
    assert_eq!(
        (&result["status"], &result["result"]),
        (&json!("completed"), &json!("\"hello-processed\""))
    );
    assert!(result["ms"].as_u64() >= Some(20), "{result}");
    Ok(())
}

#[tokio::test]
async fn a_foreign_client_sees_the_request_exactly_as_promised() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let data = r#"{"b":12345678901234567890.10,"a":1e400,"ü":"\u00fc 🦀\u0000"}"#;
    let answer = web.post_body(format!("{{\"data\": {data}}}")).await?;
    let body: Value = answer.json().await?;
    let id = body["requestId"].as_str().context("an id")?;

    let message = stack.foreign().await?.next(REQUESTS).await?;
    assert_eq!(message.text(), format!("{{\"requestId\":\"{id}\",\"requestData\":{data}}}"));
    assert_eq!((message.exchange.as_str(), message.key.as_str()), ("processing", "request"));
    let properties = &message.properties;
    let text = |value: &Option<testbed::foreign::types::ShortString>| {
        value.as_ref().map(ToString::to_string)
    };
    assert_eq!(text(properties.content_type()).as_deref(), Some("application/json"));
    assert_eq!(text(properties.message_id()).as_deref(), Some(id));
    assert_eq!(text(properties.correlation_id()).as_deref(), Some(id));
    assert_eq!(text(properties.kind()).as_deref(), Some("request"));
    assert_eq!(text(properties.app_id()).as_deref(), Some("web-service"));
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert!(properties.timestamp().is_some());
    assert_eq!(message.header("slowlane-attempt").as_deref(), Some("1"));
    assert_eq!(message.header("traceparent").map(|value| value.len()), Some(55));
    Ok(())
}

#[tokio::test]
async fn a_callers_trace_goes_with_the_request() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let url = format!("{}/api/v1/processData", web.base);
    let post = web.client.post(url).header("traceparent", trace).json(&json!({"data": 1}));
    assert_eq!(post.send().await?.status(), 202);
    let foreign = stack.foreign().await?;
    let request = foreign.next(REQUESTS).await?;
    assert_eq!(request.header("traceparent").as_deref(), Some(trace));
    Ok(())
}

#[tokio::test]
async fn a_foreign_producer_needs_no_properties_and_gets_its_number_back() -> Result<()> {
    let stack = Stack::fresh().await?;
    let _processor = stack.processor(1, "1ms").await?;
    let foreign = stack.foreign().await?;
    let body = br#"{"requestData":"x","requestId":42.50,"v":2}"#;
    foreign.publish("processing", "request", Properties::default(), body).await?;
    let result = foreign.next(RESULTS).await?;
    assert_eq!(result.text(), r#"{"requestId":42.50,"processingResults":"x-processed"}"#);
    assert_eq!(result.properties.message_id().as_ref().map(|id| id.as_str()), Some("42.50"));
    Ok(())
}

#[tokio::test]
async fn two_processors_share_the_work() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, one, other) =
        tokio::try_join!(stack.web(), stack.processor(1, "100ms"), stack.processor(1, "100ms"))?;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(web.accepted(n.into()).await?);
    }
    web.results(ids).await?;
    for processor in [one, other] {
        let done = processor
            .lines()
            .iter()
            .filter(|line| json_message(line, log_messages::FINISHED).is_some())
            .count();
        ensure!(done >= 5, "one of the two finished only {done} of 20");
    }
    Ok(())
}

#[tokio::test]
async fn the_other_processor_finishes_the_job_of_one_that_was_killed() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, victim) = tokio::try_join!(stack.web(), stack.processor(1, "1h"))?;
    let id = web.accepted("precious".into()).await?;
    assert_eq!(victim.wait_for_message(log_messages::STARTED).await?["requestId"], *id);
    let heir = stack.processor(1, "1ms").await?;
    victim.kill();
    let finished = heir.wait_for_message(log_messages::FINISHED).await?;
    assert_eq!(finished["requestId"], *id);
    assert_eq!(web.result(&id).await?["result"], "\"precious-processed\"");
    Ok(())
}

#[tokio::test]
async fn services_started_before_their_broker_and_without_setup_find_it_later() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let proxy = testbed::Proxy::start(vhost.address()).await?;
    proxy.refuse().await?;
    let stack = Stack { url: proxy.url(&vhost.url) };
    let web = Web::start_without_broker(stack.program("web-service")).await?;
    let processor = stack.program("processor-service").env("PROCESSING_DELAY", "0").start()?;
    processor.wait_for_message(log_messages::USING_BROKER).await?;
    let answer = web.post_body("{\"data\":1}").await?;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await?;
    assert_eq!(problem["type"], "unavailable", "{problem}");
    assert_eq!(web.get("/health/live").await?.status(), 200);
    assert_eq!(web.get("/health/ready").await?.status(), 503);

    proxy.accept().await?;
    web.ready().await?;
    let id = web.accepted(7.into()).await?;
    assert_eq!(web.result(&id).await?["result"], "\"7-processed\"");
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_said_and_never_shown() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let url = vhost.url_as("guest", "wr0ng-passw0rd", &vhost.name);
    let web = Program::new("web-service").env("AMQP_URL", &url).env("RUST_LOG", "trace");
    let web = Web::start_without_broker(web.env("LOG_FORMAT", "json")).await?;
    web.not_publishing("the user or the password is wrong").await?;
    let ready = web.get("/health/ready").await?.text().await?;
    let said = web.program.lines().join("\n");
    assert!(!said.contains("wr0ng") && !ready.contains("wr0ng"), "{said}");
    Ok(())
}

#[tokio::test]
async fn bad_bodies_are_told_apart_and_cost_nothing() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = Web::start(stack.program("web-service").env("BODY_LIMIT", "1KiB")).await?;
    let long = format!("{{\"data\":\"{}\"}}", "x".repeat(2000));
    let cases = [
        ("nonsense", 400, "not-json"),
        ("", 400, "not-json"),
        ("[1]", 422, "wrong-shape"),
        ("{\"date\":1}", 422, "wrong-shape"),
        (long.as_str(), 413, "too-large"),
    ];
    for (body, status, kind) in cases {
        let answer = web.post_body(body.to_owned()).await?;
        assert_eq!(answer.status().as_u16(), status, "{body}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: Value = answer.json().await?;
        assert_eq!(
            (&problem["type"], &problem["status"]),
            (&json!(kind), &json!(status)),
            "{problem}"
        );
    }
    let url = format!("{}/api/v1/processData", web.base);
    let answer = web
        .client
        .post(url)
        .header("content-type", "text/plain")
        .body("{\"data\":1}")
        .send()
        .await?;
    assert_eq!(answer.status(), 415);
    let answer = web.get("/api/v1/processData").await?;
    assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str()?), (405, "POST"));
    assert_eq!(stack.foreign().await?.depth(REQUESTS).await?.messages, 0);
    Ok(())
}

#[tokio::test]
async fn queues_deleted_under_their_consumers_come_back_and_jobs_in_hand_have_their_result()
-> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, processor) = tokio::try_join!(stack.web(), stack.processor(1, "2s"))?;
    let in_hand = web.accepted("in hand".into()).await?;
    processor.wait_for_message(log_messages::STARTED).await?;
    let foreign = stack.foreign().await?;
    for queue in [REQUESTS, RESULTS, FAILED] {
        foreign.delete_queue(queue).await?;
    }
    let mut after = Vec::new();
    for n in 0..3 {
        after.push(web.accepted(n.into()).await?);
    }
    assert_eq!(web.result(&in_hand).await?["result"], "\"in hand-processed\"");
    web.results(after).await?;
    foreign.depth(FAILED).await?;
    web.ready().await
}

#[tokio::test]
async fn a_binding_that_an_alternate_exchange_hides_is_made_again_at_the_next_connect() -> Result<()>
{
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let foreign = stack.foreign().await?;
    foreign.declare_exchange("alternate", ExchangeKind::Fanout).await?;
    foreign.declare_queue("alternate", FieldTable::default()).await?;
    foreign.bind("alternate", "alternate", "").await?;
    vhost.set_alternate_exchange(&vhost.name, "processing", "alternate").await?;
    for (queue, key) in [(REQUESTS, "request"), (RESULTS, "result")] {
        foreign.unbind(queue, "processing", key).await?;
    }
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(1, "1ms"))?;
    let id = web.accepted("a".into()).await?;
    assert_eq!(web.result(&id).await?["result"], "\"a-processed\"");
    assert_eq!(foreign.depth("alternate").await?.messages, 0);
    Ok(())
}

#[tokio::test]
async fn a_missing_queue_that_we_may_not_declare_is_said() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let user = format!("user-{}", vhost.name);
    vhost.add_user(&user, "secret", &vhost.name, ["", ".*", ".*"]).await?;
    let limited = Stack { url: vhost.url_as(&user, "secret", &vhost.name) };
    let (web, _processor) = tokio::try_join!(limited.web(), limited.processor(1, "1ms"))?;
    let id = web.accepted("fine".into()).await?;
    web.result(&id).await?;

    stack.foreign().await?.delete_queue(REQUESTS).await?;
    let answer = web.post_body("{\"data\":1}").await?;
    assert_eq!(answer.status(), 503);
    let problem: Value = answer.json().await?;
    assert_eq!(problem["type"], "topology-missing", "{problem}");
    assert!(problem["detail"].to_string().contains("run setup"), "{problem}");
    let ready: Value = web.get("/health/ready").await?.json().await?;
    assert_eq!(ready["parts"]["topology"]["ok"], false, "{ready}");

    stack.setup().start()?.succeed_within(testbed::process::WAIT_TIMEOUT).await?;
    web.ready().await?;
    let id = web.accepted("again".into()).await?;
    web.result(&id).await?;
    Ok(())
}

#[tokio::test]
async fn a_body_that_takes_longer_than_a_confirm_may_is_accepted() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = Web::start(stack.program("web-service").env("PUBLISH_TIMEOUT", "3s")).await?;
    let address = web.base.trim_start_matches("http://");
    let mut socket = tokio::net::TcpStream::connect(address).await?;
    let head = "POST /api/v1/processData HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Type: application/json\r\nContent-Length: 10\r\n\r\n";
    socket.write_all(head.as_bytes()).await?;
    for part in ["{\"da", "ta\"", ":1}"] {
        // The slowness is what is tested.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        socket.write_all(part.as_bytes()).await?;
    }
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    Ok(())
}
