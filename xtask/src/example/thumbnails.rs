//! The example `thumbnails`: pictures and videos, of which some are broken, fail, are repaired, and are processed again.

use std::ffi::{OsStr, OsString};

use anyhow::{Context, Result, ensure};
use owo_colors::AnsiColors;
use pipeline::log_messages::{CONSUMING, LISTENING};
use reqwest::Method;
use serde_json::Value;
use testbed::{Program, media, process::WAIT_TIMEOUT, program::Running, workspace};

use super::stage::{Stage, base_url};
use crate::console;

/// The types of the requests.
const TYPES: &str = "thumbnail,transcode";
/// The exit code of `slowlane` when a request has failed.
const FAILED: i32 = 3;

/// A reader who types commands in the folder of the example.
struct Reader<'a> {
    stage: &'a Stage,
    /// Where ImageMagick and ffmpeg are.
    path: OsString,
    /// The base URL of the web service.
    web: String,
}

/// Starts the services and shows them at work.
pub(super) async fn show(stage: &mut Stage) -> Result<()> {
    let path = media::path_with_tools(&|line| console::step("media", line)).await?;
    let web = start(stage, &path).await?;
    let reader = Reader { stage, path, web };
    reader.process_files().await?;
    let groups = reader.find_failures().await?;
    reader.repair(&groups).await
}

/// Starts a web service, and a processor for each type. Gives the base URL.
async fn start(stage: &mut Stage, path: &OsStr) -> Result<String> {
    let broker = stage.node().url();
    let program = |name, types| Program::new(name).env("AMQP_URL", &broker).env("TYPES", types);
    program("setup", TYPES).start()?.succeed_within(WAIT_TIMEOUT).await?;
    let web = base_url(&stage.start("web", program("web-service", TYPES), LISTENING).await?)?;
    for (kind, script, workers) in
        [("thumbnail", "thumbnail.sh", "2"), ("transcode", "transcode.sh", "1")]
    {
        let command = format!("sh '{}'", script_file(script));
        let processor = program("processor-service", kind).env("PATH", path);
        let processor = processor.env("PROCESSOR", "command").env("PROCESSOR_COMMAND", command);
        stage.start(kind, processor.env("WORKERS", workers), CONSUMING).await?;
    }
    Ok(web)
}

fn script_file(name: &str) -> String {
    workspace::root().join("examples/thumbnails").join(name).display().to_string()
}

impl Reader<'_> {
    async fn process_files(&self) -> Result<()> {
        console::step("example", "five pictures and two videos, of which three are cut off");
        self.make_files(&["broken"]).await?;
        console::step("example", "a thumbnail of each picture: those that are cut off fail");
        self.make_thumbnails(FAILED).await?;
        console::step("example", "each video becomes a WebM, with its progress");
        for (video, code) in [("originals/video-1.mp4", 0), ("originals/video-2.mp4", FAILED)] {
            let submit = ["submit", "--type", "transcode", "--text", video];
            let lines = self.slowlane(&submit, 0).await?;
            let id = lines.iter().find(|line| !line.contains(' ')).context("an id")?;
            self.slowlane(&["watch", id], code).await?;
        }
        Ok(())
    }

    /// Gives the ids of the groups of failures.
    async fn find_failures(&self) -> Result<Vec<String>> {
        console::step("example", "what has failed, and the groups of the same error");
        self.slowlane(&["failed", "list"], 0).await?;
        let url = format!("{}/api/v1/error-groups?failed=true", self.web);
        let groups: Value = serde_json::from_str(&self.stage.call(Method::GET, &url, None).await?)?;
        let items = groups["items"].as_array().context("groups")?;
        let ids = items.iter().map(|item| Some(item["group"].as_str()?.to_owned()));
        let ids: Vec<_> = ids.collect::<Option<_>>().context("a group has an id")?;
        ensure!(ids.len() == 2, "pictures are one group, and videos another: {groups}");
        Ok(ids)
    }

    async fn repair(&self, groups: &[String]) -> Result<()> {
        console::step("example", "the files are repaired, and each group is processed again");
        self.make_files(&[]).await?;
        for group in groups {
            self.slowlane(&["failed", "replay", "--group", group, "--canary"], 0).await?;
        }
        self.slowlane(&["failed", "list"], 0).await?;
        console::step("example", "the same command takes up the results that were missing");
        self.make_thumbnails(0).await?;
        self.run(Program::at("/bin/ls").arg("-R").arg("thumbnails").arg("videos"), "ls -R", 0)
            .await
            .map(drop)
    }

    async fn make_files(&self, words: &[&str]) -> Result<()> {
        let program = Program::at("/bin/sh").arg(script_file("make-files.sh"));
        let program = words.iter().fold(program, Program::arg).env("PATH", &self.path);
        self.run(program, &format!("sh make-files.sh {}", words.join(" ")), 0).await.map(drop)
    }

    async fn make_thumbnails(&self, code: i32) -> Result<()> {
        let files = ["pictures.ndjson", "--out", "thumbnails.ndjson"];
        let words = [&["bulk", "--type", "thumbnail"], &files[..]].concat();
        self.slowlane(&words, code).await.map(drop)
    }

    async fn slowlane(&self, words: &[&str], code: i32) -> Result<Vec<String>> {
        let program = Program::new("slowlane").env("SLOWLANE_URL", &self.web);
        let program = words.iter().fold(program, Program::arg);
        self.run(program, &format!("slowlane {}", words.join(" ")), code).await
    }

    /// Runs a program in the example's folder, shows its lines as they come, and gives them. Fails unless it ends with
    /// this code.
    async fn run(&self, program: Program, line: &str, code: i32) -> Result<Vec<String>> {
        console::line("you", AnsiColors::White, line);
        let running: Running = program.current_dir(self.stage.folder()).start()?;
        let mut lines = running.follow();
        while let Some(line) = lines.next().await {
            console::line("", AnsiColors::White, line);
        }
        let status = running.wait().await?;
        ensure!(status.code() == Some(code), running.error(&format!("ended with {status}")));
        Ok(running.lines())
    }
}
