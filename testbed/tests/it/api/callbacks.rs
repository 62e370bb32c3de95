//! Callbacks: delivery, signatures, retries, and the addresses they may go to.

mod dying;
mod hanging;
mod receiver;

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::CALLBACK_FAILED;
use serde_json::{Value, json};
use testbed::{
    Program,
    foreign::Properties,
    process::{WAIT_TIMEOUT, json_message},
    shared_node, tls,
};

use self::receiver::Receiver;
use crate::support::{
    foreign_worker::fail,
    http_call::Call,
    https,
    stack::{Stack, Web},
};

const SECRET: &str = "whsec_c2xvd2xhbmUgdGVzdHMgd2l0aCB0aGlzIHNlY3JldA==";
const OLD_SECRET: &str = "whsec_c2xvd2xhbmUgdGVzdGVkIHdpdGggdGhpcyBzZWNyZXQ=";

async fn stack() -> Result<Stack> {
    Stack::on(&shared_node::vhost().await.url).await
}

/// A web service that calls this machine.
fn calling(stack: &Stack) -> Program {
    let program = stack.program("web-service").env("WEBHOOK_SECRET", SECRET);
    program.env("CALLBACK_ALLOW_PRIVATE", "true")
}

async fn post(web: &Web, url: &str) -> Result<reqwest::Response> {
    web.post_body(json!({"data": "a", "callbackUrl": url}).to_string()).await
}

async fn accepted(web: &Web, url: &str) -> Result<String> {
    let answer = post(web, url).await?;
    ensure!(answer.status() == 202, "{}", answer.text().await?);
    let body: Value = answer.json().await?;
    Ok(body["requestId"].as_str().context("an id")?.to_owned())
}

async fn get(web: &Web, id: &str) -> Result<Value> {
    Ok(web.get(&format!("/api/v1/requests/{id}")).await?.json().await?)
}

/// Looks again and again until the callback of a request has come so far.
async fn callback(web: &Web, id: &str, status: &str) -> Result<Value> {
    let limit = Instant::now() + WAIT_TIMEOUT;
    loop {
        let request = get(web, id).await?;
        if request["callback"]["status"] == status {
            return Ok(request["callback"].clone());
        }
        ensure!(Instant::now() < limit, "not {status} in time: {request}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits for the log line of an attempt that failed.
async fn failure(web: &Web, id: &str) -> Result<Value> {
    let of_id =
        |line: &str| json_message(line, CALLBACK_FAILED).filter(|line| line["requestId"] == *id);
    web.program.wait_for(&format!("a callback of {id} that failed"), of_id).await
}

#[tokio::test]
async fn the_end_of_a_request_is_told_and_signed() -> Result<()> {
    let (stack, receiver) = (stack().await?, Receiver::start().await?);
    let secrets = format!("{SECRET},{OLD_SECRET}");
    let web = Web::start(calling(&stack).env("WEBHOOK_SECRET", secrets)).await?;
    let done = accepted(&web, &receiver.url("/ok/done?token=hunter2")).await?;
    let bad = accepted(&web, &receiver.url("/ok/bad")).await?;
    let waits = get(&web, &bad).await?;
    assert_eq!(waits["callback"], json!({"status": "pending", "attempts": 0}));
    let foreign = stack.foreign().await?;
    for body in [
        json!({"requestId": done, "processingResults": {"n": 1}}),
        json!({"requestId": bad, "error": {"code": "teapot", "message": "no"}}),
    ] {
        let body = body.to_string();
        foreign.publish("processing", "result", Properties::default(), body.as_bytes()).await?;
    }
    let paths = [(&done, "/ok/done?token=hunter2", "completed"), (&bad, "/ok/bad", "failed")];
    for (id, path, status) in paths {
        let call = receiver.calls(path, 1).await?.remove(0);
        assert_eq!(call.id(), format!("{id}-0-{status}"));
        assert_eq!(call.headers["content-type"], "application/json");
        call.is_signed_with(SECRET)?;
        call.is_signed_with(OLD_SECRET)?;
        let told = callback(&web, id, "delivered").await?;
        assert!(told["deliveredAt"].is_string() && told["attempts"] == 1, "{told}");
        let mut shown = get(&web, id).await?;
        shown.as_object_mut().context("an object")?.remove("callback");
        let body = call.json()?;
        assert_eq!(body["type"], format!("request.{status}"));
        assert_eq!(body["data"], shown);
        assert!(body["timestamp"].as_str().context("a time")?.ends_with('Z'));
    }
    let listed: Value = web.get("/api/v1/requests").await?.json().await?;
    assert_eq!(listed["items"][0]["callback"]["status"], "delivered");
    let log = web.program.lines().join("\n");
    ensure!(!log.contains("hunter2") && !log.contains("whsec_"), "{log}");
    Ok(())
}

/// A receiver that knows the end of the first run must not take that of the next for the same.
#[tokio::test]
async fn each_run_and_a_cancel_are_told_under_ids_of_their_own() -> Result<()> {
    let (stack, receiver) = (stack().await?, Receiver::start().await?);
    let web = Web::start(calling(&stack)).await?;
    let foreign = stack.foreign().await?;
    let id = accepted(&web, &receiver.url("/flaky")).await?;
    fail(&foreign, &id, 0).await?;
    callback(&web, &id, "delivered").await?;
    assert_eq!(web.replay(&id).await?.0, 202);
    let waits = get(&web, &id).await?;
    assert_eq!(waits["callback"], json!({"status": "pending", "attempts": 0}));
    assert_eq!(web.delete(&id).await?.0, 200);
    let calls = receiver.calls("/flaky", 3).await?;
    let ids: Vec<_> = calls.iter().map(Call::id).collect();
    let failed = format!("{id}-0-failed");
    assert_eq!(ids, [failed.as_str(), &failed, &format!("{id}-1-cancelled")]);
    let told = calls[2].json()?;
    assert_eq!((&told["type"], &told["data"]["run"]), (&json!("request.cancelled"), &json!(1)));
    callback(&web, &id, "delivered").await?;
    Ok(())
}

#[tokio::test]
async fn what_goes_wrong_is_tried_again_and_seen() -> Result<()> {
    let (stack, receiver) = (stack().await?, Receiver::start().await?);
    let web = Web::start(calling(&stack)).await?;
    let _processor = stack.processor(2, "1ms").await?;
    let post = async |path: &str| accepted(&web, &receiver.url(path)).await;
    let flaky = post("/flaky").await?;
    let calls = receiver.calls("/flaky", 2).await?;
    assert_eq!((calls[0].id(), &calls[0].body), (calls[1].id(), &calls[1].body));
    let told = callback(&web, &flaky, "delivered").await?;
    assert_eq!(
        (&told["attempts"], &told["lastError"]),
        (&json!(2), &json!("the receiver answered 500"))
    );

    let closed = post("/close").await?;
    ensure!(failure(&web, &closed).await?["reason"].to_string().contains("no answer"));
    callback(&web, &closed, "delivered").await?;

    let huge = post("/huge").await?;
    assert_eq!(callback(&web, &huge, "delivered").await?["attempts"], 1);

    let began = Instant::now();
    let busy = post("/busy").await?;
    callback(&web, &busy, "delivered").await?;
    ensure!(began.elapsed() > Duration::from_secs(4), "Retry-After is heeded");

    let redirect = post("/redirect").await?;
    let calls = receiver.calls("/redirect", 2).await?;
    assert_eq!(calls[0].id(), calls[1].id());
    let pending = get(&web, &redirect).await?["callback"].clone();
    assert_eq!(pending["status"], "pending");
    ensure!(pending["lastError"].to_string().contains("redirects are not followed"), "{pending}");
    assert_eq!(receiver.count("/target"), 0);
    Ok(())
}

#[tokio::test]
async fn a_callback_that_was_given_up_can_be_sent_again() -> Result<()> {
    let (stack, receiver) = (stack().await?, Receiver::start().await?);
    let web = Web::start(calling(&stack)).await?;
    let processor = stack.processor(1, "1ms").await?;
    let gone = accepted(&web, &receiver.url("/gone")).await?;
    let told = callback(&web, &gone, "failed").await?;
    assert_eq!((&told["attempts"], told["nextAttemptAt"].is_null()), (&json!(1), true));

    let retry = async |id: &str| {
        let url = format!("{}/api/v1/requests/{id}/callback/retry", web.base);
        web.client.post(url).send().await
    };
    let answer = retry(&gone).await?;
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.headers()["location"], format!("/api/v1/requests/{gone}"));
    let calls = receiver.calls("/gone", 2).await?;
    assert_eq!(calls[0].id(), calls[1].id());
    callback(&web, &gone, "delivered").await?;

    let silent = web.accepted("a".into()).await?;
    web.result(&silent).await?;
    for (id, code) in [(&gone, 0), (&silent, 1)] {
        let words = ["callbacks", "retry", id];
        let slowlane = Program::new("slowlane").env("SLOWLANE_URL", &web.base);
        let slowlane = words.into_iter().fold(slowlane, Program::arg).start()?;
        let (status, text) = slowlane.ended().await?;
        assert_eq!(status.code(), Some(code), "{text}");
        ensure!(text.contains(if code == 0 { "is being sent" } else { "callbackUrl" }), "{text}");
    }
    receiver.calls("/gone", 3).await?;

    processor.terminate();
    processor.ended().await?;
    let open = accepted(&web, &receiver.url("/ok")).await?;
    for (id, status, kind) in [
        (silent.as_str(), 409, "no-callback"),
        (&open, 409, "callback-pending"),
        ("01890000-0000-7000-8000-000000000000", 404, "not-found"),
        ("nonsense", 404, "not-found"),
    ] {
        let answer = retry(id).await?;
        assert_eq!(answer.status(), status, "{id}");
        let problem: Value = answer.json().await?;
        assert_eq!(problem["type"], kind, "{id}");
    }
    Ok(())
}

#[tokio::test]
async fn a_callback_that_waits_for_long_can_be_sent_now() -> Result<()> {
    let (stack, receiver) = (stack().await?, Receiver::start().await?);
    let web = Web::start(calling(&stack)).await?;
    let _processor = stack.processor(1, "1ms").await?;
    let id = accepted(&web, &receiver.url("/later")).await?;
    failure(&web, &id).await?;
    let limit = Instant::now() + WAIT_TIMEOUT;
    while get(&web, &id).await?["callback"]["nextAttemptAt"].is_null() {
        ensure!(Instant::now() < limit, "the attempt is not noted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let url = format!("{}/api/v1/requests/{id}/callback/retry", web.base);
    assert_eq!(web.client.post(url).send().await?.status(), 202);
    assert_eq!(callback(&web, &id, "delivered").await?["attempts"], 2);
    Ok(())
}

#[tokio::test]
async fn addresses_that_nobody_is_to_call_are_refused() -> Result<()> {
    let stack = stack().await?;
    let web = Web::start(stack.program("web-service").env("WEBHOOK_SECRET", SECRET)).await?;
    let mut said = HashSet::new();
    for url in [
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://192.168.1.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fd00::1]/",
        "https://169.254.169.254/",
        "https://localhost:8080/",
        "https://user:password@example.com/",
        "http://example.com/",
        "example.com",
    ] {
        let answer = post(&web, url).await?;
        assert_eq!(answer.status(), 422, "{url}");
        let problem: Value = answer.json().await?;
        assert_eq!(problem["type"], "callback-refused", "{url}");
        said.insert(problem["detail"].to_string());
    }
    ensure!(said.len() == 4, "{said:?}");
    let line = json!({"data": 1, "callbackUrl": "https://10.0.0.1/"}).to_string();
    let url = format!("{}/api/v1/processData/batch", web.base);
    let batch = web.client.post(url).header("content-type", "application/x-ndjson").body(line);
    let outcome: Value = batch.send().await?.json().await?;
    assert_eq!(outcome["status"], 422);
    assert_eq!(stack.foreign().await?.depth(crate::support::stack::REQUESTS).await?.messages, 0);
    Ok(())
}

#[tokio::test]
async fn without_a_secret_nothing_is_told() -> Result<()> {
    let web = stack().await?.web().await?;
    let answer = post(&web, "https://example.com/").await?;
    assert_eq!(answer.status(), 422);
    let problem: Value = answer.json().await?;
    ensure!(problem["detail"].to_string().contains("set WEBHOOK_SECRET"), "{problem}");
    Ok(())
}

#[tokio::test]
async fn only_those_whom_the_system_trusts_are_told_over_https() -> Result<()> {
    let (stack, folder) = (stack().await?, tempfile::tempdir()?);
    let files = tls::write(folder.path())?;
    let answer = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    let url = https::serve(&files, answer.to_owned())?;
    let _processor = stack.processor(1, "1ms").await?;
    let trusting = Web::start(calling(&stack).env("SSL_CERT_FILE", &files.ca)).await?;
    let told = accepted(&trusting, &url).await?;
    callback(&trusting, &told, "delivered").await?;
    trusting.program.terminate();
    trusting.program.ended().await?;

    let other = tls::write(&folder.path().join("other"))?;
    let wary = Web::start(calling(&stack).env("SSL_CERT_FILE", &other.ca)).await?;
    let refused = failure(&wary, &accepted(&wary, &url).await?).await?;
    ensure!(refused["reason"].to_string().contains("certificate"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_machine_without_certificates_says_so_at_the_start() -> Result<()> {
    let empty = tempfile::NamedTempFile::new()?;
    let program = Program::new("web-service").env("WEBHOOK_SECRET", SECRET);
    let program = program.env("HTTP_ADDR", "127.0.0.1:0").env("SSL_CERT_FILE", empty.path());
    let (status, text) = program.start()?.ended().await?;
    assert_eq!(status.code(), Some(1), "{text}");
    ensure!(text.contains("callbacks can't be sent") && text.contains("SSL_CERT_FILE"), "{text}");
    Ok(())
}
