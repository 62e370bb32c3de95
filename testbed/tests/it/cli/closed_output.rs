//! `slowlane ... | head`: a reader that is gone changes neither what a command does nor its exit code.

use anyhow::{Context, Result, ensure};

use crate::support::{
    slowlane::run_without_reader,
    stack::{REQUESTS, Stack, Web},
};

#[tokio::test]
async fn missing_messages_are_published_although_nobody_reads_their_list() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let lost = web.accepted("lost".into()).await?;
    stack.foreign().await?.get(REQUESTS).await?.context("a message")?;
    for format in ["text", "json"] {
        let said = run_without_reader(&web.base, &["verify", "--output", format]).await?;
        ensure!(said.code == Some(1), "{}", said.text);
    }
    let said = run_without_reader(&web.base, &["verify", "--mend"]).await?;
    ensure!(said.code == Some(0), "{}", said.text);
    ensure!(said.text.contains("1 of 1 published again"), "{}", said.text);
    let _processor = stack.processor(1, "1ms").await?;
    web.results([lost]).await
}

#[tokio::test]
async fn an_exit_code_that_tells_of_a_request_needs_no_reader() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let [queued, cancelled] = [web.accepted("a".into()).await?, web.accepted("b".into()).await?];
    web.delete(&cancelled).await?;
    let cases: [(&[&str], i32); 7] = [
        (&["get", &queued], 5),
        (&["get", &cancelled, "--output", "json"], 4),
        (&["wait", &cancelled, "--output", "json"], 4),
        (&["wait", &queued, "--timeout", "100ms", "--output", "json"], 5),
        // It ends at once, since nobody reads what is still to come.
        (&["watch", &queued], 5),
        (&["watch", &cancelled], 4),
        (&["doctor"], 1),
    ];
    for (words, code) in cases {
        let said = run_without_reader(&web.base, words).await?;
        ensure!(said.code == Some(code), "{words:?}: {:?} {}", said.code, said.text);
    }
    // A list ends where nobody reads it.
    let said = run_without_reader(&web.base, &["list"]).await?;
    ensure!(said.code == Some(0) && said.text.is_empty(), "{}", said.text);
    Ok(())
}

#[tokio::test]
async fn a_service_that_is_not_ready_ends_the_status_with_1_also_without_a_reader() -> Result<()> {
    let nobody = Stack { url: "amqp://127.0.0.1:1".to_owned() };
    let web = Web::start_without_broker(nobody.program("web-service")).await?;
    let said = run_without_reader(&web.base, &["status"]).await?;
    ensure!(said.code == Some(1), "{}", said.text);
    Ok(())
}
