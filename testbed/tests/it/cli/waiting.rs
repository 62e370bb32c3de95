//! What is shown while `slowlane` waits for requests whose attempts fail.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::support::{
    slowlane::{CliOutput, run_slowlane, slowlane},
    stack::{Stack, Web},
    wait::settles,
};

const FAILED: &str = "attempt 1 failed: as ordered";

/// The only request that is there.
async fn only_request(web: &Web) -> Result<Value> {
    let mut listed = Value::Null;
    settles("a request", async || {
        listed = web.list("").await?["items"][0].clone();
        Ok(listed["requestId"].is_string())
    })
    .await?;
    Ok(listed)
}

#[tokio::test]
async fn whoever_waits_is_told_of_failed_attempts_and_when_the_next_one_begins() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.start_faulty(1, "1h"))?;
    let submitting = slowlane(&web.base, &["submit", "{\"fail\":1}", "--wait"]).start()?;
    let id = only_request(&web).await?["requestId"].as_str().context("an id")?.to_owned();
    let waiting = slowlane(&web.base, &["wait", &id]).start()?;
    let watching = slowlane(&web.base, &["watch", &id]).start()?;
    for program in [&submitting, &waiting] {
        program.wait_for_text(&format!("slowlane: {FAILED}; attempt 2 begins in ")).await?;
    }
    watching.wait_for_text(&format!("queued      {FAILED}  attempt 2 begins at 2")).await?;
    let said = run_slowlane(&web.base, &["wait", &id, "--timeout", "300ms"]).await?;
    ensure!(said.code == Some(5) && said.text.contains(FAILED), "{}", said.text);
    let said = run_slowlane(&web.base, &["get", &id]).await?;
    ensure!(said.has_line("last error  as ordered"), "{}", said.text);

    assert_eq!(web.retry_now(&id).await?.0, 202);
    for program in [&submitting, &waiting, &watching] {
        let said = CliOutput::by(program).await?;
        ensure!(said.code == Some(0) && said.has_line("{\"fail\":1}"), "{}", said.text);
        let told = said.text.lines().filter(|line| line.contains(FAILED)).count();
        ensure!(told == 1, "what was told is told again: {}", said.text);
    }
    Ok(())
}

/// A folder with the input of a run.
fn input(lines: &[Value]) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(folder.path().join("input"), text)?;
    Ok(folder)
}

fn bulk(base: &str, folder: &tempfile::TempDir) -> testbed::Program {
    slowlane(base, &["bulk", "input", "--out", "out"]).current_dir(folder.path())
}

fn results(folder: &tempfile::TempDir) -> Result<Vec<Value>> {
    let text = fs::read_to_string(folder.path().join("out"))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[tokio::test]
async fn bulk_counts_what_has_ended_and_tells_of_what_waits_for_its_next_attempt() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.start_faulty(1, "1h"))?;
    let folder = input(&[json!({"fail": 1}), json!(2), json!(3), json!(4)])?;
    let running = bulk(&web.base, &folder).start()?;
    let report = |line: &str| {
        let wanted = [
            "3 of 4 lines, ",
            "1 waits for its next attempt in ",
            " after as ordered",
            "at least ",
        ];
        wanted.iter().all(|text| line.contains(text)).then(|| line.to_owned())
    };
    let report = running.wait_for("the line that waits", report).await?;
    ensure!(report.contains(" minutes left") || report.contains(" hour left"), "{report}");
    assert_eq!(results(&folder)?, [0; 0], "the first result is written first");

    let queued = web.list("status=queued").await?;
    let id = queued["items"][0]["requestId"].as_str().context("an id")?;
    assert_eq!(web.retry_now(id).await?.0, 202);
    let said = CliOutput::by(&running).await?;
    ensure!(
        said.code == Some(0) && said.text.contains("4 lines: 4 completed, 0 not"),
        "{}",
        said.text
    );
    let results: Vec<_> =
        results(&folder)?.iter().map(|line| line["processingResults"].clone()).collect();
    assert_eq!(results, [json!({"fail": 1}), json!(2), json!(3), json!(4)]);
    Ok(())
}

#[tokio::test]
async fn bulk_takes_up_the_results_of_failed_lines_that_were_replayed() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let folder = input(&[json!(1), json!({"fail": 1}), json!({"permanent": "no"}), json!(4)])?;
    {
        let _once = stack.faulty(1).env("MAX_ATTEMPTS", "1").start()?;
        let said = CliOutput::by(&bulk(&web.base, &folder).start()?).await?;
        ensure!(said.code == Some(3) && said.text.contains("2 completed, 2 not"), "{}", said.text);
        ensure!(said.text.contains("the same command takes up their results"), "{}", said.text);
    }
    let before = results(&folder)?;
    let id = before[1]["requestId"].as_str().context("an id")?;
    let said = run_slowlane(&web.base, &["failed", "replay", id]).await?;
    ensure!(said.code == Some(0), "{}", said.text);
    let again = bulk(&web.base, &folder).start()?;
    again.wait_for_text("taking up 1 line that was replayed").await?;
    let _processor = stack.start_faulty(1, "100ms").await?;
    let said = CliOutput::by(&again).await?;
    ensure!(said.code == Some(3) && said.text.contains("3 completed, 1 not"), "{}", said.text);
    let after = results(&folder)?;
    let repaired = json!({
        "line": 2, "requestId": id, "status": "completed", "processingResults": {"fail": 1}
    });
    assert_eq!(after, [before[0].clone(), repaired, before[2].clone(), before[3].clone()]);
    let said = CliOutput::by(&bulk(&web.base, &folder).start()?).await?;
    ensure!(said.code == Some(3) && !said.text.contains("taking up"), "{}", said.text);
    assert_eq!(results(&folder)?, after);
    Ok(())
}
