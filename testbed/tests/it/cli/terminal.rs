//! Colours and progress: what `slowlane` shows on a terminal and nowhere else.

use std::{
    fs::File,
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use testbed::{process, workspace};
use tokio::task::spawn_blocking;

use crate::support::stack::Stack;

const GREEN: &str = "\u{1b}[32m";

/// Gives all that `slowlane` writes on a terminal.
fn on_terminal(base: &str, words: &[&str], more: &[(&str, &str)], dir: &Path) -> Result<String> {
    on_terminal_until(base, words, more, dir, |_| Ok(()))
}

/// The same; `see` gets all that was written so far, again and again.
fn on_terminal_until(
    base: &str,
    words: &[&str],
    more: &[(&str, &str)],
    dir: &Path,
    mut see: impl FnMut(&str) -> Result<()>,
) -> Result<String> {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    let name = ptsname(&terminal, Vec::new())?;
    let inside = File::options().read(true).write(true).open(name.to_str()?)?;
    let mut command = Command::new(workspace::binary("slowlane")?);
    command.args(words).current_dir(dir).env_clear().envs(process::minimal_env());
    command.env("SLOWLANE_URL", base).env("TERM", "xterm-256color").envs(more.iter().copied());
    command.stdin(Stdio::null()).stdout(inside.try_clone()?).stderr(inside);
    let mut child = command.spawn()?;
    // It holds the inner side of the terminal.
    drop(command);
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    let mut terminal = File::from(terminal);
    // When the last who is inside has gone, reading fails.
    while let Ok(length @ 1..) = terminal.read(&mut piece) {
        said.extend_from_slice(&piece[..length]);
        see(&String::from_utf8_lossy(&said))?;
    }
    ensure!(child.wait()?.success(), "{}", String::from_utf8_lossy(&said));
    Ok(String::from_utf8(said)?)
}

#[tokio::test]
async fn colours_and_the_bar_are_for_terminals() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(2, "1ms"))?;
    let id = web.accepted("a".into()).await?;
    web.ended(&id).await?;
    let base = web.base.clone();
    spawn_blocking(move || {
        let folder = tempfile::tempdir()?;
        let say = |words: &[&str], more: &[_]| on_terminal(&base, words, more, folder.path());
        let said = say(&["list"], &[])?;
        ensure!(said.contains(&format!("{GREEN}completed")), "{said:?}");
        let said = say(&["list"], &[("NO_COLOR", "1")])?;
        ensure!(said.contains("completed") && !said.contains('\u{1b}'), "{said:?}");

        std::fs::write(folder.path().join("input"), "1\n2\n3\n")?;
        let said = say(&["bulk", "input", "--out", "out"], &[])?;
        ensure!(said.contains(" of 3 lines  ") && said.contains("3 completed, 0 not"), "{said:?}");
        ensure!(!said.contains("slowlane: 0 of 3 lines"), "a line beside the bar: {said:?}");
        Ok(())
    })
    .await?
}

/// A command that reports its progress, and ends when the file `go` is there.
const REPORTS: &str = r#"sh -c 'echo "{\"progress\":0.5,\"message\":\"page 5\"}" >&3; until [ -e go ]; do sleep 0.05; done; rm go'"#;
const HALF: &str = "[##########----------]  50%  page 5";

#[tokio::test]
async fn the_progress_of_the_work_is_a_bar_on_terminals_alone() -> Result<()> {
    let (stack, folder) = (Stack::fresh().await?, tempfile::tempdir()?);
    let command = stack.program("processor-service").current_dir(folder.path());
    let command = command.env("PROCESSOR", "command").env("PROCESSOR_COMMAND", REPORTS);
    // What is never seen ends the work, and so the test.
    let command = command.env("JOB_TIMEOUT", "1m").env("MAX_ATTEMPTS", "1");
    let (web, _processor) =
        tokio::try_join!(stack.web(), stack.start_processor(command, 1, "1ms"))?;
    let id = web.accepted("a".into()).await?;
    let base = web.base.clone();
    spawn_blocking(move || {
        let go = folder.path().join("go");
        let end_when = |expected: &'static str| {
            let (go, mut seen) = (go.clone(), false);
            move |said: &str| {
                if !seen && said.contains(expected) {
                    seen = true;
                    std::fs::write(&go, "")?;
                }
                Ok(())
            }
        };
        let dir = folder.path();
        on_terminal_until(&base, &["wait", &id], &[], dir, end_when(HALF))?;
        std::fs::write(dir.join("input"), "1\n")?;
        let bulk = ["bulk", "input", "--out", "out"];
        let line = "line 1  [##########----------]  50%  page 5";
        on_terminal_until(&base, &bulk, &[], dir, end_when(line)).map(drop)
    })
    .await?
}
