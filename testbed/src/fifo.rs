//! A named pipe that shows whether processes with no other tie to a test are alive: they hold it open.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use tokio::sync::oneshot;

use crate::process::WAIT_TIMEOUT;

/// A named pipe that processes open by its path and write to.
#[derive(Debug)]
pub struct Fifo {
    path: PathBuf,
    lines: oneshot::Receiver<Vec<String>>,
    rest: oneshot::Receiver<String>,
    _dir: tempfile::TempDir,
}

impl Fifo {
    /// Makes a pipe of which [`Fifo::lines`] gives the first `count` lines.
    pub fn with_lines(count: usize) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("slowlane-fifo-").tempdir()?;
        let path = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().context("mkfifo")?;
        ensure!(made.success(), "mkfifo: {made}");
        let (lines_sender, lines) = oneshot::channel();
        let (rest_sender, rest) = oneshot::channel();
        let pipe = path.clone();
        // A thread, since opening waits for the first process that opens the other side.
        std::thread::spawn(move || {
            let Ok(pipe) = std::fs::File::open(pipe) else { return };
            let (mut pipe, mut text) = (BufReader::new(pipe), String::new());
            let _sent =
                lines_sender.send((&mut pipe).lines().take(count).map_while(Result::ok).collect());
            if pipe.read_to_string(&mut text).is_ok() {
                let _sent = rest_sender.send(text);
            }
        });
        Ok(Self { path, lines, rest, _dir: dir })
    }

    /// Where the pipe is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the first lines, within [`WAIT_TIMEOUT`].
    pub async fn lines(&mut self) -> Result<Vec<String>> {
        let lines = tokio::time::timeout(WAIT_TIMEOUT, &mut self.lines).await;
        lines.context("the lines were not written in time")?.context("cannot read the pipe")
    }

    /// Waits, within [`WAIT_TIMEOUT`], until no process has the pipe open; gives what was written after the lines.
    pub async fn closed(self) -> Result<String> {
        let rest = tokio::time::timeout(WAIT_TIMEOUT, self.rest).await;
        rest.context("a process still has the pipe open")?.context("cannot read the pipe")
    }
}
