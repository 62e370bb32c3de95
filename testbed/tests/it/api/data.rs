//! Data of all kinds and sizes come back as a result or end with an error, and hold up nothing behind them.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::foreign::persistent;
use uuid::Uuid;

use crate::support::{
    database::Database,
    foreign_worker::fail,
    slowlane::run_slowlane,
    stack::{Stack, Web},
};

/// The default of `BODY_LIMIT`.
const MAX_BODY_BYTES: usize = 15 << 20;
/// What stands around the data in a body.
const FRAME: &str = "{\"data\":}";

#[tokio::test]
async fn data_of_all_sorts_end_with_a_result_or_an_error_of_their_own() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = Web::start(database.program(&stack).env("BODY_LIMIT", "15MiB")).await?;
        let processor = stack.program("processor-service").env("RESULT_LIMIT", "15MiB");
        let _processor = stack.start_processor(processor, 2, "1ms").await?;
        for (data, result) in ordinary() {
            let request = end(&web, &data).await?;
            let expected = format!("\"processingResults\":{result}");
            ensure!(request.contains(&expected), "{data:.100} became {request:.500}");
        }
        // Its result is longer than itself, by a few bytes or by every quote in it.
        let too_long = [
            string(MAX_BODY_BYTES - FRAME.len() - 2),
            format!("[{}\"\"]", "\"\",".repeat(MAX_BODY_BYTES / 3 - 10)),
        ];
        for data in too_long {
            let request = end(&web, &data).await?;
            ensure!(
                request.contains("\"code\":\"result_too_large\""),
                "{data:.100}: {request:.500}"
            );
        }
        let beyond = format!("{{\"data\":{}}}", string(MAX_BODY_BYTES));
        assert_eq!(web.post_body(beyond).await?.status(), 413);
        let id = web.accepted("after".into()).await?;
        assert_eq!(web.ended(&id).await?["processingResults"], "after-processed");
    }
    Ok(())
}

/// Data and their results, as JSON text.
fn ordinary() -> Vec<(String, String)> {
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let large = "x".repeat(MAX_BODY_BYTES - 100);
    [
        (r#""a\u0000b""#, r#""a\u0000b-processed""#),
        ("\"🦀 \u{10ffff}\"", "\"🦀 \u{10ffff}-processed\""),
        ("1e400", "\"1e400-processed\""),
        ("-0.0", "\"-0.0-processed\""),
        ("12345678901234567890.10", "\"12345678901234567890.10-processed\""),
        ("null", "\"null-processed\""),
        ("\"\"", "\"-processed\""),
        (r#""\ud800""#, r#""\ud800-processed""#),
        (r#"{"a":1,"a":2}"#, r#""{\"a\":1,\"a\":2}-processed""#),
        (&deep, &format!("\"{deep}-processed\"")),
        (&format!("\"{large}\""), &format!("\"{large}-processed\"")),
    ]
    .map(|(data, result)| (data.to_owned(), result.to_owned()))
    .into()
}

fn string(inside: usize) -> String {
    format!("\"{}\"", "x".repeat(inside))
}

/// Posts data, as JSON text, and gives the request when it has ended.
async fn end(web: &Web, data: &str) -> Result<String> {
    let posted = web.post_body(format!("{{\"data\":{data}}}")).await?;
    let (status, location) = (posted.status(), posted.headers().get("location").cloned());
    let body = posted.text().await?;
    ensure!(status == 202, "{data:.100}: {status} {body}");
    let location = location.map(|path| path.to_str().map(str::to_owned)).transpose()?;
    let id = location.as_deref().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let ended = web.ask(id, 50).await?.text().await?;
    let is_over =
        ended.contains("\"status\":\"completed\"") || ended.contains("\"status\":\"failed\"");
    ensure!(is_over, "{data:.100} has not ended: {ended:.500}");
    Ok(ended)
}

/// What of this would survive if it were parsed?
const ODD: &str = r#"{"b": 1e400,  "a":12345678901234567890.10,"a":"\u00fc",
 "c":[ ]}"#;

#[tokio::test]
async fn the_data_of_a_request_are_given_back_as_they_were_sent() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let foreign = stack.foreign().await?;
        let posted = web.post_body(format!("{{\"data\":{ODD}}}")).await?.json::<Value>().await?;
        let id = posted["requestId"].as_str().unwrap_or_default().to_owned();
        let get = async |id: &str| web.get(&format!("/api/v1/requests/{id}/data")).await;
        let answer = get(&id).await?;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"application/json".parse()?)
        );
        assert_eq!(answer.text().await?, ODD);
        let said = run_slowlane(&web.base, &["get", &id, "--data"]).await?;
        assert_eq!((said.code, said.text.trim_end()), (Some(0), ODD));

        let of_another = Uuid::now_v7().to_string();
        let result = json!({"requestId": of_another, "processingResults": 1}).to_string();
        foreign.publish("processing", "result", persistent(), result.as_bytes()).await?;
        web.result(&of_another).await?;
        fail(&foreign, &id, 0).await?;
        web.ended(&id).await?;
        let discarded = web.client.post(format!("{}/api/v1/requests/{id}/discard", web.base));
        assert_eq!(discarded.send().await?.status(), 204);
        for (id, status, kind) in [
            (of_another.as_str(), 409, "no-data"),
            (&id, 410, "expired"),
            (&Uuid::now_v7().to_string(), 404, "not-found"),
            ("nonsense", 404, "not-found"),
        ] {
            let answer = get(id).await?;
            assert_eq!(answer.status(), status, "{id}");
            assert_eq!(answer.json::<Value>().await?["type"], kind);
        }
    }
    Ok(())
}
