//! `slowlane status`: the whole system on one screen.

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::{Program, Signal, workspace};

use crate::support::{
    slowlane::{CliOutput, run_slowlane, slowlane},
    stack::{Stack, Web},
    wait::settles,
};

#[tokio::test]
async fn the_status_is_one_screen_for_people_and_one_object_for_programs() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let id = web.accepted("a".into()).await?;
    let mut seen = String::new();
    settles("a request that waits for a worker", async || {
        let said = run_slowlane(&web.base, &["status"]).await?;
        ensure!(said.code == Some(0), "{}", said.text);
        seen = said.text;
        Ok(seen.contains("waiting     1 for a worker") && seen.contains("1 request waits, "))
    })
    .await?;
    for text in [
        format!("service     ready at {}", web.base),
        "store       it answers".to_owned(),
        "in work     0; no worker".to_owned(),
        "retrying    0 wait for their next attempt".to_owned(),
        format!("open        1 in all; the oldest is {id}, for "),
        "processing.requests              1          0".to_owned(),
    ] {
        ensure!(seen.contains(&text), "{text}: {seen}");
    }
    ensure!(seen.matches("no worker consumes").count() == 1, "told once: {seen}");
    let said = run_slowlane(&web.base, &["status", "--output", "json"]).await?;
    assert_eq!(said.json()?["requests"]["open"], json!(1), "{}", said.text);

    let watching = slowlane(&web.base, &["status", "--watch"]).start()?;
    watching.wait_for_text("waiting     1 for a worker").await?;
    let _processor = stack.processor(1, "1h").await?;
    watching.wait_for_text("in work     1; 1 of 1 worker busy").await?;
    watching.terminate();
    let (status, output) = watching.ended().await?;
    ensure!(status.code() == Some(0), "{output}");
    Ok(())
}

#[tokio::test]
async fn a_command_that_does_not_hear_the_end_of_its_terminal_goes_on() -> Result<()> {
    let nobody = Stack { url: "amqp://127.0.0.1:1".to_owned() };
    let web = Web::start_without_broker(nobody.program("web-service")).await?;
    let slowlane = workspace::binary("slowlane")?;
    // As nohup does.
    let line = format!("trap '' HUP; exec '{}' status --watch", slowlane.display());
    for (line, goes_on) in [(line.clone(), true), (line.replace("trap '' HUP; ", ""), false)] {
        let shell = Program::at("/bin/sh").arg("-c").arg(line).env("SLOWLANE_URL", &web.base);
        let watching = shell.start()?;
        watching.wait_for_text("not ready at").await?;
        let later = watching.from_now();
        watching.signal(Signal::HUP);
        if goes_on {
            let next = |line: &str| line.contains("not ready at").then_some(());
            later.wait_for("the next screen", next).await?;
            watching.terminate();
        }
        let said = CliOutput::by(&watching).await?;
        ensure!(said.code == Some(0), "{:?} {}", said.code, said.text);
    }
    Ok(())
}

#[tokio::test]
async fn the_status_of_a_service_without_its_broker_says_so_and_ends_with_1() -> Result<()> {
    let nobody = Stack { url: "amqp://127.0.0.1:1".to_owned() };
    let web = Web::start_without_broker(nobody.program("web-service")).await?;
    let said = run_slowlane(&web.base, &["status"]).await?;
    ensure!(said.code == Some(1) && said.text.contains("not ready at"), "{}", said.text);
    ensure!(said.text.contains("publishing  missing: "), "{}", said.text);
    ensure!(said.has_line("waiting     not known"), "{}", said.text);
    Ok(())
}
