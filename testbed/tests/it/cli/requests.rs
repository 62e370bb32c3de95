//! Submit, get, list, watch, wait and completions: `slowlane` against the whole system.

use std::{
    fs,
    net::TcpListener,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{
    Program,
    foreign::Properties,
    ports,
    process::{self, Start, WAIT_TIMEOUT},
    workspace,
};

use super::fake::{self, Fake};
use crate::support::slowlane::{CliOutput, UNKNOWN, run_slowlane, slowlane};
use crate::support::stack::{Stack, Web};

/// Runs a line in a shell, in which `slowlane` is known.
async fn in_shell(base: &str, line: &str) -> Result<Vec<String>> {
    let slowlane = workspace::binary("slowlane")?;
    let line = format!("slowlane() {{ '{}' \"$@\"; }}; {line}", slowlane.display());
    let shell = Start::new("/bin/sh", workspace::root()).args(["-c", &line]);
    process::run(shell.envs(process::minimal_env()).envs([("SLOWLANE_URL", base)]), WAIT_TIMEOUT)
        .await
}

#[tokio::test]
async fn data_comes_back_as_its_result() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(2, "1ms"))?;
    let said = run_slowlane(&web.base, &["submit", "\"hello\"", "--wait"]).await?;
    ensure!(said.code == Some(0) && said.has_line("hello-processed"), "{}", said.text);

    let said =
        run_slowlane(&web.base, &["submit", "--output", "json", "--text", "--wait", "héllo"])
            .await?;
    let done = said.json()?;
    assert_eq!((said.code, &done["processingResults"]), (Some(0), &json!("héllo-processed")));

    let said = run_slowlane(&web.base, &["submit", "-5", "--wait", "1m"]).await?;
    ensure!(said.code == Some(0) && said.has_line("-5-processed"), "{}", said.text);

    let lines = in_shell(&web.base, "echo '{\"b\": 1e400}' | slowlane submit --wait").await?;
    ensure!(lines.iter().any(|line| line == "{\"b\":1e400}-processed"), "{lines:?}");
    let lines = in_shell(&web.base, "echo hello | slowlane submit --text --file - --wait").await?;
    ensure!(lines.iter().any(|line| line == "hello-processed"), "{lines:?}");

    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), "[1,\n \"two\"]\n")?;
    let path = file.path().to_str().context("a path")?;
    let said =
        run_slowlane(&web.base, &["submit", "--wait", "--output", "json", "--file", path]).await?;
    assert_eq!(said.json()?["processingResults"], "[1,\"two\"]-processed");
    let lines =
        in_shell(&web.base, "printf 'a\\0\\377b' | slowlane submit --text 2>&1 || echo $?").await?;
    ensure!(lines.len() == 2 && lines[0].contains("not UTF-8") && lines[1] == "2", "{lines:?}");
    Ok(())
}

#[tokio::test]
async fn an_id_is_all_that_is_needed_later() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let said = run_slowlane(&web.base, &["submit", "[1]"]).await?;
    let id = said.text.trim().to_owned();
    assert_eq!((said.code, id.len()), (Some(0), 36), "{id}");
    let said = run_slowlane(&web.base, &["submit", "--output", "json", "2"]).await?;
    ensure!(said.json()?["requestId"].is_string(), "{}", said.text);

    let said = run_slowlane(&web.base, &["get", &id]).await?;
    ensure!(said.code == Some(5) && said.has_line("status      queued"), "{}", said.text);
    let said = run_slowlane(&web.base, &["wait", &id, "--timeout", "300ms"]).await?;
    ensure!(said.code == Some(5) && said.text.contains("queued"), "{}", said.text);

    let waiting = slowlane(&web.base, &["wait", &id]).start()?;
    let _processor = stack.processor(1, "1ms").await?;
    let said = CliOutput::by(&waiting).await?;
    ensure!(said.code == Some(0) && said.has_line("[1]-processed"), "{}", said.text);
    let said = run_slowlane(&web.base, &["get", &id, "--output", "json"]).await?;
    assert_eq!((said.code, &said.json()?["status"]), (Some(0), &json!("completed")));
    let said = run_slowlane(&web.base, &["get", &id]).await?;
    ensure!(said.has_line("result      \"[1]-processed\""), "{}", said.text);
    Ok(())
}

#[tokio::test]
async fn every_way_to_end_has_its_exit_code() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let failing = web.accepted("a".into()).await?;
    let foreign = stack.foreign().await?;
    let body = json!({"requestId": failing, "error": {"code": "teapot", "message": "no coffee"}});
    let body = body.to_string();
    foreign.publish("processing", "result", Properties::default(), body.as_bytes()).await?;
    let gone = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let gone = format!("http://me:hunter2@{gone}");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["wait", &failing], 3, "no coffee (teapot)"),
        (&["get", UNKNOWN], 6, "There is no request"),
        (&["wait", UNKNOWN], 6, "There is no request"),
        (&["watch", UNKNOWN], 6, "There is no request"),
        (&["get", "nonsense"], 6, "UUID"),
        (&["submit", "1", "--url", &gone, "--retry-for", "0s"], 7, "can't be reached"),
        (&["list", "--url", &gone, "--retry-for", "1s"], 7, "refused"),
        (&["submit", "hello"], 2, "--text"),
        (&["submit", "--file", "missing.json"], 2, "missing.json"),
        (&["submit", "--file", "/"], 2, "the file / can't be read"),
        (&["submit", "1", "--expires-in", "29d"], 2, "28d at most"),
        (&["submit", "1", "--callback-url", "https://a/"], 2, "set WEBHOOK_SECRET"),
        (&["submit", "1", "--idempotency-key", "used"], 0, ""),
        (&["submit", "2", "--idempotency-key", "used"], 2, "was used with another body"),
        (&["callbacks", "retry", &failing], 1, "without a callbackUrl"),
        (&["submit", "1", "--wait", "300ms"], 5, "has not ended yet"),
        (&["submit", "1", "--url", "localhost:3000"], 2, "SLOWLANE_URL"),
        (&["frobnicate"], 2, "Usage"),
    ];
    for (words, code, text) in cases {
        let said = run_slowlane(&web.base, words).await?;
        assert_eq!(said.code, Some(*code), "{words:?}: {}", said.text);
        ensure!(said.text.contains(text) && !said.text.contains("hunter2"), "{}", said.text);
    }
    Ok(())
}

#[tokio::test]
async fn whoever_waits_no_longer_than_a_time_is_not_held_up_by_a_service_that_hangs() -> Result<()>
{
    // The system accepts its connections, but nobody reads from them.
    let hangs = TcpListener::bind("127.0.0.1:0")?;
    let hanging = format!("http://{}", hangs.local_addr()?);
    let gone = format!("http://127.0.0.1:{}", ports::free()?);
    for (base, retry_for) in [(&hanging, "5m"), (&hanging, "0s"), (&gone, "5m")] {
        let begin = Instant::now();
        let words = ["wait", UNKNOWN, "--timeout", "1s", "--retry-for", retry_for];
        let said = run_slowlane(base, &words).await?;
        ensure!(said.code == Some(5), "{}", said.text);
        ensure!(said.text.contains("is not known after 1s: http"), "{}", said.text);
        ensure!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    }
    // Here it is not the user's time that is over.
    let words = ["wait", UNKNOWN, "--timeout", "1m", "--retry-for", "0s"];
    let said = run_slowlane(&gone, &words).await?;
    ensure!(said.code == Some(7) && said.text.contains("refused"), "{}", said.text);
    Ok(())
}

#[tokio::test]
async fn requests_are_listed_for_people_and_for_programs() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let said = run_slowlane(&web.base, &["list"]).await?;
    ensure!(said.code == Some(0) && said.text.contains("no such requests"), "{}", said.text);
    assert_eq!(run_slowlane(&web.base, &["list", "--output", "json"]).await?.text, "[]");
    let mut ids = Vec::new();
    // More than a page has.
    for n in 0..501 {
        ids.push(web.accepted(n.into()).await?);
    }
    ids.reverse();
    let said = run_slowlane(&web.base, &["list", "--limit", "2"]).await?;
    let lines: Vec<_> = said.text.lines().collect();
    ensure!(lines.len() == 4 && lines[0].starts_with("ID"), "{}", said.text);
    ensure!(said.has_line("slowlane: 2 of more; --all for the rest"), "{}", said.text);
    ensure!(lines[1].starts_with(&ids[0]) && lines[1].contains("queued"), "{}", said.text);
    ensure!(!said.text.contains('\u{1b}'), "colours without a terminal: {:?}", said.text);

    let said = run_slowlane(&web.base, &["list", "--all", "--output", "json"]).await?;
    let items: Vec<Value> = serde_json::from_str(&said.text)?;
    let listed: Vec<_> = items.iter().filter_map(|item| item["requestId"].as_str()).collect();
    assert_eq!(listed, ids);
    let said = run_slowlane(&web.base, &["list", "--limit", "501"]).await?;
    ensure!(!said.text.contains("of more"), "these are all");
    let said =
        run_slowlane(&web.base, &["list", "--status", "failed", "--type", "default"]).await?;
    ensure!(said.text.contains("no such requests"), "{}", said.text);

    let lines = in_shell(&web.base, "slowlane list --all | head -n 1").await?;
    ensure!(lines.len() == 1, "a reader that goes away is no reason for a word: {lines:?}");
    Ok(())
}

#[tokio::test]
async fn whoever_watches_or_waits_outlives_the_service() -> Result<()> {
    let stack = Stack::fresh().await?;
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("slowlane.db").display());
    let program = || stack.program("web-service").env("DATABASE_URL", &url);
    let web = Web::start(program()).await?;
    let id = web.accepted("a".into()).await?;
    let watching = slowlane(&web.base, &["watch", &id]).start()?;
    watching.wait_for_text("queued").await?;
    let waiting = slowlane(&web.base, &["wait", &id]).start()?;
    web.program.kill();
    web.program.wait().await?;
    for program in [&watching, &waiting] {
        program.wait_for_text("trying again").await?;
    }
    let web = Web::start_at(program(), web.base.trim_start_matches("http://")).await?;
    watching.wait_for_text("answers again").await?;
    let _processor = stack.processor(1, "300ms").await?;
    for program in [&watching, &waiting] {
        let said = CliOutput::by(program).await?;
        ensure!(said.code == Some(0) && said.has_line("a-processed"), "{}", said.text);
        let queued = said.text.lines().filter(|line| line.starts_with("queued")).count();
        ensure!(queued <= 1, "what was told is told again: {}", said.text);
    }
    let said = run_slowlane(&web.base, &["watch", &id, "--output", "json"]).await?;
    assert_eq!(said.json()?["status"], "completed");
    Ok(())
}

#[tokio::test]
async fn however_often_data_is_sent_it_has_one_key() -> Result<()> {
    let answers = [
        fake::answer(503, "Retry-After: 0\r\n", "{\"type\":\"outcome-unknown\"}"),
        // The service dies before it answers.
        String::new(),
        fake::answer(409, "Retry-After: 0\r\n", "{\"type\":\"in-flight\",\"detail\":\"D\"}"),
        fake::answer(202, "", &json!({ "requestId": UNKNOWN }).to_string()),
    ];
    let (fake, calls) = Fake::start(answers).await?;
    let said = run_slowlane(&fake, &["submit", "{\"a\": 1.0}", "--expires-in", "10m"]).await?;
    assert_eq!((said.code, said.text.lines().last()), (Some(0), Some(UNKNOWN)));
    let calls = calls.await??;
    ensure!(calls.len() == 4 && calls.windows(2).all(|two| two[0] == two[1]), "{calls:?}");
    let (head, body) = calls[0].split_once("\r\n\r\n").context("a body")?;
    ensure!(body == "{\"data\":{\"a\": 1.0},\"expiresIn\":\"10m\"}", "{body}");
    let key = head.lines().find_map(|line| line.strip_prefix("idempotency-key: "));
    ensure!(key.is_some_and(|key| key.len() == 36), "{head}");

    let accepted = fake::answer(202, "", &json!({ "requestId": UNKNOWN }).to_string());
    let (fake, calls) = Fake::start([accepted]).await?;
    run_slowlane(&fake, &["submit", "1", "--idempotency-key", "mine"]).await?;
    ensure!(calls.await??[0].contains("idempotency-key: mine\r\n"));
    Ok(())
}

#[tokio::test]
async fn what_answers_but_is_no_slowlane_is_said() -> Result<()> {
    let cases = [
        ("get", 200, "", "not a web service"),
        ("get", 404, "", "not a web service"),
        ("watch", 200, "Content-Type: text/html\r\n", "not a web service"),
        ("get", 301, "Location: https://b/\r\n", "points to https://b/"),
    ];
    for (command, status, header, words) in cases {
        let (fake, _) = Fake::start([fake::answer(status, header, "<html>")]).await?;
        let said = run_slowlane(&fake, &[command, UNKNOWN]).await?;
        ensure!(said.code == Some(1) && said.text.contains(words), "{}", said.text);
    }
    Ok(())
}

#[tokio::test]
async fn shells_get_completions_whatever_the_settings() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join(".env"), "SLOWLANE_URL=nonsense\n")?;
    for shell in ["bash", "fish", "zsh"] {
        let program = Program::new("slowlane").current_dir(folder.path());
        let said = CliOutput::by(&program.arg("completions").arg(shell).start()?).await?;
        ensure!(said.code == Some(0) && said.text.contains("idempotency-key"), "{}", said.text);
    }
    let program = Program::new("slowlane").current_dir(folder.path()).arg("list");
    let said = CliOutput::by(&program.start()?).await?;
    ensure!(said.code == Some(2) && said.text.contains("SLOWLANE_URL"), "{}", said.text);
    Ok(())
}
