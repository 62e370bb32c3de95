//! `slowlane bulk`: many requests from a file, also over interruptions.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Program, Signal, process::WAIT_TIMEOUT};
use tokio::time::{Instant, sleep};

use crate::support::slowlane::{CliOutput, run_slowlane, slowlane};
use crate::support::stack::{Stack, Web};

const LINES: usize = 5_000;

/// A folder with the input and the output of a run.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn with(input: &str) -> Result<Self> {
        let desk = Self { folder: tempfile::tempdir()? };
        fs::write(desk.input(), input)?;
        Ok(desk)
    }

    fn input(&self) -> PathBuf {
        self.folder.path().join("input.ndjson")
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("results.ndjson")
    }

    fn bulk(&self, base: &str) -> Program {
        slowlane(base, &["bulk"]).arg(self.input()).arg("--out").arg(self.out())
    }

    fn results(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.out())?;
        text.lines().map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
    }

    /// Waits until so many results have been written.
    async fn written(&self, lines: usize) -> Result<()> {
        let (mut seen, mut last) = (0, Instant::now());
        while seen < lines {
            sleep(Duration::from_millis(10)).await;
            let now = count(&self.out());
            if now > seen {
                (seen, last) = (now, Instant::now());
            }
            ensure!(last.elapsed() < WAIT_TIMEOUT, "nothing comes after {seen} lines");
        }
        Ok(())
    }
}

fn count(file: &Path) -> usize {
    fs::read(file).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
}

#[tokio::test]
async fn an_interrupted_run_goes_on_and_gives_each_result_once_in_order() -> Result<()> {
    let stack = Stack::fresh().await?;
    let database = tempfile::tempdir()?;
    let url = format!("sqlite:{}", database.path().join("slowlane.db").display());
    let program = || stack.program("web-service").env("DATABASE_URL", &url);
    let (web, _processor) = tokio::try_join!(Web::start(program()), stack.processor(8, "1ms"))?;
    let input: String = (1..=LINES).map(|n| format!("{{\"n\": {n}}}\n")).collect();
    let desk = Desk::with(&input)?;

    let first = desk.bulk(&web.base).start()?;
    desk.written(LINES / 5).await?;
    first.signal(Signal::INT);
    let said = CliOutput::by(&first).await?;
    ensure!(said.code == Some(1) && said.text.contains("goes on from there"), "{}", said.text);
    let done = count(&desk.out());
    ensure!((LINES / 5..LINES).contains(&done), "{done}");

    let second = desk.bulk(&web.base).start()?;
    desk.written(2 * LINES / 5).await?;
    second.kill();
    second.wait().await?;
    // What a kill in the middle of a write leaves behind.
    let mut text = fs::read_to_string(desk.out())?;
    text.push_str("{\"line\":99999,\"sta");
    fs::write(desk.out(), text)?;

    let third = desk.bulk(&web.base).start()?;
    desk.written(3 * LINES / 5).await?;
    web.program.kill();
    web.program.wait().await?;
    let web = Web::start_at(program(), web.base.trim_start_matches("http://")).await?;
    desk.written(LINES).await?;
    let said = CliOutput::by(&third).await?;
    ensure!(said.code == Some(0) && said.text.contains("5000 completed"), "{}", said.text);
    let told = said.text.lines().filter(|line| !line.contains(" of 5000 lines, ")).count();
    ensure!(told < 10, "too much is said: {}", said.text);

    let results = desk.results()?;
    assert_eq!(results.len(), LINES);
    for (at, result) in results.iter().enumerate() {
        let n = at + 1;
        let expected = json!(format!("{{\"n\":{n}}}-processed"));
        assert_eq!((&result["line"], &result["status"]), (&json!(n), &json!("completed")));
        assert_eq!(result["processingResults"], expected);
    }
    let ids: HashSet<_> = results.iter().map(|result| result["requestId"].to_string()).collect();
    assert_eq!(ids.len(), LINES);
    let listed = run_slowlane(&web.base, &["list", "--all", "--output", "json"]).await?.text;
    let listed: Vec<Value> = serde_json::from_str(&listed)?;
    assert_eq!(listed.len(), LINES, "some lines were sent as two requests");

    let said = CliOutput::by(&desk.bulk(&web.base).arg("--output").arg("json").start()?).await?;
    assert_eq!((said.code, &said.json()?["completed"]), (Some(0), &json!(LINES)));
    assert_eq!(desk.results()?.len(), LINES, "a run that is done is done");

    fs::write(desk.input(), "1\n")?;
    let said = CliOutput::by(&desk.bulk(&web.base).start()?).await?;
    ensure!(said.code == Some(2) && said.text.contains("has changed"), "{}", said.text);
    assert_eq!(desk.results()?.len(), LINES);
    Ok(())
}

#[tokio::test]
async fn a_line_that_fails_is_told_in_its_place() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.program("web-service").env("BODY_LIMIT", "1KiB");
    let (web, _processor) = tokio::try_join!(Web::start(web), stack.processor(2, "1ms"))?;
    let long = "x".repeat(2000);
    let desk = Desk::with(&format!("1\n\n\"{long}\"\nnull\r\n[ ]"))?;
    let said = CliOutput::by(&desk.bulk(&web.base).start()?).await?;
    ensure!(said.code == Some(3) && said.text.contains("3 completed, 1 not"), "{}", said.text);
    let results = desk.results()?;
    let lines: Vec<_> = results.iter().map(|result| result["line"].to_string()).collect();
    assert_eq!(lines, ["1", "3", "4", "5"]);
    let refused = &results[1];
    assert_eq!((&refused["status"], &refused["requestId"]), (&json!("failed"), &Value::Null));
    assert_eq!(refused["error"]["code"], "too-large");
    assert_eq!(results[3]["processingResults"], "[]-processed");

    let said = CliOutput::by(&desk.bulk(&web.base).start()?).await?;
    assert_eq!(said.code, Some(3), "a failure stays one when the run is started again");
    Ok(())
}

#[tokio::test]
async fn what_can_not_be_begun_touches_nothing() -> Result<()> {
    let desk = Desk::with("1\nnonsense\n")?;
    let base = "http://127.0.0.1:9";
    let said = CliOutput::by(&desk.bulk(base).start()?).await?;
    ensure!(said.code == Some(2) && said.text.contains("line 2:"), "{}", said.text);
    ensure!(!desk.out().exists());

    fs::write(desk.input(), "1\n")?;
    for diary in ["dear diary\n", "dear diary", "{\"line\":1,\"status\":\"\"}\n"] {
        fs::write(desk.out(), diary)?;
        let said = CliOutput::by(&desk.bulk(base).start()?).await?;
        ensure!(said.code == Some(2) && said.text.contains("give another --out"), "{}", said.text);
        assert_eq!(fs::read_to_string(desk.out())?, diary);
    }

    let out = desk.folder.path().join("other");
    let words = ["bulk", "missing", "--out", out.to_str().context("a path")?];
    let said = run_slowlane(base, &words).await?;
    ensure!(said.code == Some(2) && !out.exists(), "{}", said.text);
    let input = desk.input();
    let input = input.to_str().context("a path")?;
    for no_file in ["/dev/null", "/", "/no/such/folder/out"] {
        let said = run_slowlane(base, &["bulk", input, "--out", no_file]).await?;
        ensure!(said.code == Some(2) && said.text.contains("can't be written"), "{}", said.text);
        ensure!(!Path::new(&format!("{no_file}.state")).exists());
    }

    fs::remove_file(desk.out())?;
    let unreachable = desk.bulk(base).arg("--retry-for").arg("0s").start()?;
    let said = CliOutput::by(&unreachable).await?;
    ensure!(said.code == Some(7) && said.text.contains("after 0 of 1 lines"), "{}", said.text);
    Ok(())
}
