//! Progress that work reports: from commands on descriptor 3, from HTTP work by its URL.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{
    endpoint::{Endpoint, Reply},
    event_stream::Stream,
    processor_health::listening_on,
    stack::{Stack, Web, consuming},
};

/// Waits until a request has made this progress.
async fn progressed(web: &Web, id: &str, progress: f64, message: &str) -> Result<()> {
    let mut stream = Stream::of(web, id).await?;
    let wanted = |told: &Value| told["progress"] == progress && told["message"] == message;
    stream.until("progress", wanted).await.map(drop)
}

#[tokio::test]
async fn a_command_reports_on_descriptor_3_at_most_four_times_a_second() -> Result<()> {
    let stack = Stack::fresh().await?;
    let text = r#"n=0; while [ ! -e go ]; do
        n=$((n+1)); echo "{\"progress\":0.25,\"message\":\"page $n\"}" >&3; echo nonsense >&3; sleep 0.01
        [ $n = 300 ] && break
    done
    echo '{"progress":{"done":3,"total":4},"message":"the last"}' >&3
    while [ ! -e go ]; do sleep 0.05; done; echo done"#;
    let program = stack.program("processor-service").env("PROCESSOR", "command");
    let program =
        program.env("PROCESSOR_COMMAND", format!("sh -c '{}'", text.replace('\'', r"'\''")));
    let (web, foreign) = tokio::try_join!(stack.web(), stack.foreign())?;
    let mut events = foreign.listen("processing.events", "request.progress").await?;
    let processor = stack.start_processor(program, 1, "1h").await?;
    let id = web.accepted(json!(1)).await?;
    progressed(&web, &id, 0.75, "the last").await?;
    ensure!(web.request(&id).await?["progress"] == 0.75, "it is not shown");
    let (mut count, began) = (1, Instant::now());
    let first = events.next().await?.json()?;
    let mut last = first.clone();
    while last["message"] != "the last" {
        last = events.next().await?.json()?;
        count += 1;
    }
    let at = |event: &Value| -> Result<std::time::SystemTime> {
        Ok(humantime::parse_rfc3339(event["at"].as_str().context("a time")?)?)
    };
    let took = at(&last)?.duration_since(at(&first)?)?;
    let most = took.as_secs_f64() * 4.0 + 1.5;
    ensure!(f64::from(count) <= most, "{count} events in {took:?}");
    ensure!(began.elapsed() < Duration::from_secs(30), "they came late");
    std::fs::write(processor.dir().join("go"), "")?;
    assert_eq!(web.ended(&id).await?["processingResults"], "done");
    Ok(())
}

#[tokio::test]
async fn http_work_reports_to_the_url_that_it_gets() -> Result<()> {
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        let (stack, endpoint) = (Stack::fresh().await?, Endpoint::start(|_, _| Reply::Hang).await?);
        let program = stack.program("processor-service").env("PROCESSOR", "http");
        let program = program.env("PROCESSOR_URL", endpoint.url());
        let (processor, _) = listening_on(address, program).await?;
        consuming(&processor, 1).await?;
        let web = stack.web().await?;
        let id = web.accepted(json!(1)).await?;
        let calls = endpoint.calls(1).await?;
        let url = &calls[0].headers["slowlane-progress-url"];
        let post = async |body: &'static str| -> Result<u16> {
            Ok(web.client.post(url).body(body).send().await?.status().as_u16())
        };
        assert_eq!(post(r#"{"progress":0.5,"message":"half"}"#).await?, 204);
        progressed(&web, &id, 0.5, "half").await?;
        assert_eq!(post("half").await?, 422);
        assert_eq!(web.client.get(url).send().await?.status().as_u16(), 405);
        web.delete(&id).await?;
        endpoint.broken_off(1).await?;
        let mut status = post(r#"{"progress":0.6}"#).await?;
        while status == 204 {
            status = post(r#"{"progress":0.6}"#).await?;
        }
        assert_eq!(status, 404, "{address}");
    }
    Ok(())
}
