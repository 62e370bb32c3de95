//! Malformed and over-long messages and unreadable headers: each ends alone, and holds up nothing.

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use serde_json::{Value, json};
use testbed::{
    foreign::{AMQPValue, Properties, arguments},
    process::json_message,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};

use crate::support::{
    database::Database,
    stack::{FAILED, RESULTS, Stack},
};

#[tokio::test]
async fn malformed_messages_block_nothing_on_either_queue() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(1, "1ms"))?;
    let foreign = stack.foreign().await?;
    let long_id = format!("{{\"requestId\":\"{}\",\"requestData\":1}}", "i".repeat(300));
    let malformed: [&[u8]; 6] =
        [b"", b"\xff\xfe", b"not json", b"[]", b"{\"requestId\":{}}", long_id.as_bytes()];
    for key in ["request", "result"] {
        for body in malformed {
            foreign.publish("processing", key, Properties::default(), body).await?;
        }
    }
    let id = web.accepted("good".into()).await?;
    assert_eq!(web.result(&id).await?["result"], "\"good-processed\"");

    let mut all = Vec::new();
    let parked = |line: &str| {
        all.extend(json_message(line, log_messages::PARKED));
        (all.len() == 2 * malformed.len()).then_some(())
    };
    web.program.wait_for("all malformed messages", parked).await?;
    let mut lengths = Vec::new();
    for parked in all {
        assert_eq!(parked["reason"], "malformed");
        assert!(parked["error"].as_str().is_some_and(|error| !error.is_empty()), "{parked}");
        lengths.push(parked["bytes"].as_u64().context("its length")?);
    }
    lengths.sort();
    let both = malformed.iter().flat_map(|body| [body.len() as u64, body.len() as u64]);
    let mut expected: Vec<_> = both.collect();
    expected.sort();
    assert_eq!(lengths, expected);
    assert_eq!(foreign.depth(FAILED).await?.messages, 0, "the store keeps them");
    let page: Value = web.get("/api/v1/parked").await?.json().await?;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(2 * malformed.len()), "{page}");
    Ok(())
}

const UNREADABLE: usize = 6;

/// Results of a request that can't be read, with its id in the text or in the properties.
fn unreadable(id: &str) -> [(Properties, String); UNREADABLE] {
    let none = Properties::default;
    let with_id = |rest: &str| format!("{{\"requestId\":\"{id}\",{rest}");
    [
        (none(), with_id(r#""processingResults":{"loss":NaN}}"#)),
        (none(), with_id(r#""processingResults":{"text":"cut o"#)),
        (none(), with_id(r#""result":1}"#)),
        (none(), format!("{{'requestId': '{id}', 'processingResults': None}}")),
        (none().with_correlation_id(id.into()), "Traceback (most recent call last)".to_owned()),
        (none().with_message_id(id.into()), "{\"requestId\":\"".to_owned()),
    ]
}

#[tokio::test]
async fn a_result_that_cannot_be_read_ends_its_request() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let foreign = stack.foreign().await?;
        for case in 0..UNREADABLE {
            let id = web.accepted("a".into()).await?;
            let (properties, body) = unreadable(&id)[case].clone();
            foreign.publish("processing", "result", properties, body.as_bytes()).await?;
            let ended = web.ended(&id).await?;
            assert_eq!(ended["error"]["code"], "malformed", "{body}: {ended}");
            assert!(ended["error"]["message"].as_str().is_some_and(|text| !text.is_empty()));
        }
        let id = web.accepted("a".into()).await?;
        let body = format!("{{\"requestId\":\"{id}\",\"processingResults\":1}}");
        let utf16: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
        foreign.publish("processing", "result", Properties::default(), &utf16).await?;
        let ended = web.ended(&id).await?;
        assert!(ended["error"]["message"].as_str().is_some_and(|text| text.contains("UTF-16")));
    }
    Ok(())
}

#[tokio::test]
async fn a_byte_order_mark_is_skipped_in_requests_and_results() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(1, "1ms"))?;
    let foreign = stack.foreign().await?;
    let request = "\u{feff}{\"requestId\":\"marked\",\"requestData\":\"a\"}";
    foreign.publish("processing", "request", Properties::default(), request.as_bytes()).await?;
    assert_eq!(web.result("marked").await?["result"], "\"a-processed\"");
    let result = "\u{feff}{\"requestId\":\"answered\",\"processingResults\":1}";
    foreign.publish("processing", "result", Properties::default(), result.as_bytes()).await?;
    assert_eq!(web.result("answered").await?["status"], "completed");
    Ok(())
}

#[tokio::test]
async fn a_byte_order_mark_is_skipped_in_bodies_and_batches() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(1, "1ms"))?;
    let marked = "\u{feff}{\"data\":\"a\"}";
    let answer = web.post_body(marked).await?;
    ensure!(answer.status() == 202, "{answer:?}");
    let url = format!("{}/api/v1/processData/batch", web.base);
    let post = web.client.post(url).header("content-type", "application/x-ndjson");
    // As where files were joined.
    let answer = post.body(format!("{marked}\n{marked}\n")).send().await?.text().await?;
    let accepted: Vec<Value> =
        answer.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(accepted.len() == 2, "{answer}");
    for line in accepted {
        let id = line["requestId"].as_str().with_context(|| line.to_string())?;
        assert_eq!(web.ended(id).await?["processingResults"], "a-processed");
    }
    Ok(())
}

#[tokio::test]
async fn a_malformed_request_with_an_id_gets_an_error_as_its_result() -> Result<()> {
    let stack = Stack::fresh().await?;
    let _processor = stack.processor(1, "1ms").await?;
    let foreign = stack.foreign().await?;
    foreign
        .publish("processing", "request", Properties::default(), b"{\"requestId\":\"me\"}")
        .await?;
    let result = foreign.next(RESULTS).await?.json()?;
    assert_eq!(
        (&result["requestId"], &result["error"]["code"]),
        (&json!("me"), &json!("malformed"))
    );
    Ok(())
}

#[tokio::test]
async fn a_result_that_is_too_long_fails_its_request() -> Result<()> {
    let stack = Stack::fresh().await?;
    let program = stack.program("processor-service").env("RESULT_LIMIT", "1KiB");
    let (web, _processor) =
        tokio::try_join!(stack.web(), stack.start_processor(program, 1, "1ms"))?;
    let long = web.accepted("x".repeat(2000).into()).await?;
    let good = web.accepted("short".into()).await?;
    assert_eq!(web.result(&good).await?["status"], "completed");
    let result = web.result(&long).await?;
    assert_eq!(result["status"], "failed");
    assert!(result["result"].to_string().contains("result_too_large"), "{result}");
    let parked = web.program.wait_for_message(log_messages::PARKED).await?;
    assert_eq!(
        (&parked["reason"], &parked["requestId"]),
        (&json!("result_too_large"), &json!(long))
    );
    Ok(())
}

#[tokio::test]
async fn a_result_that_the_broker_refuses_for_its_length_fails_its_request() -> Result<()> {
    let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    node.set_max_message_size(3000).await?;
    let stack = Stack::on(&node.url()).await?;
    // The result is the data and a bit more, which is too much for the longest that comes in.
    let work = r#"sh -c 'cat; head -c 200 /dev/zero | tr "\0" x'"#;
    let program = stack.program("processor-service").env("PROCESSOR", "command");
    let program = program.env("PROCESSOR_COMMAND", work);
    let (web, _processor) =
        tokio::try_join!(stack.web(), stack.start_processor(program, 1, "1ms"))?;
    let long = web.accepted("x".repeat(2850).into()).await?;
    let ended = web.ended(&long).await?;
    assert_eq!(ended["error"]["code"], "result_too_large", "{ended}");
    assert_eq!(ended["attempts"], 1, "{ended}");
    let good = web.accepted("short".into()).await?;
    assert_eq!(web.ended(&good).await?["status"], "completed");
    Ok(())
}

#[tokio::test]
async fn an_over_long_body_from_a_foreign_producer_blocks_nothing() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(1, "1ms"))?;
    let foreign = stack.foreign().await?;
    let huge = "x".repeat(15 * 1024 * 1024);
    let request = format!("{{\"requestId\":\"huge\",\"requestData\":\"{huge}\"}}");
    foreign.publish("processing", "request", Properties::default(), request.as_bytes()).await?;
    let result = format!("{{\"requestId\":\"huge\",\"processingResults\":\"{huge}\"}}");
    foreign.publish("processing", "result", Properties::default(), result.as_bytes()).await?;
    let id = web.accepted("good".into()).await?;
    assert_eq!(web.result(&id).await?["result"], "\"good-processed\"");
    assert_eq!(web.result("huge").await?["result"].as_str().map(str::len), Some(200));
    let failed = |line: &str| {
        json_message(line, log_messages::RESULT)
            .filter(|line| line["requestId"] == "huge" && line["status"] == "failed")
    };
    let failed = web.program.wait_for("the error of the huge request", failed).await?;
    assert!(failed["result"].to_string().contains("result_too_large"), "{failed}");
    Ok(())
}

#[tokio::test]
async fn headers_that_are_too_long_to_be_sent_again_stop_nobody() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(1, "1ms"))?;
    let long = |size| AMQPValue::LongString("x".repeat(size).as_str().into());
    let headers = arguments([("slowlane-worker", long(60_000)), ("slowlane-other", long(60_000))]);
    let foreign = stack.foreign().await?;
    let properties = Properties::default().with_headers(headers);
    foreign.publish("processing", "request", properties.clone(), b"not a request").await?;
    let body = br#"{"requestId":"long","requestData":"x"}"#;
    foreign.publish("processing", "request", properties, body).await?;
    assert_eq!(web.result("long").await?["status"], "completed");
    assert_eq!(
        web.program.wait_for_message(log_messages::PARKED).await?["bytes"],
        "not a request".len()
    );
    Ok(())
}
