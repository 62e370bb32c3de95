//! A pipe with a name, which tells whether anybody has it open: a witness of processes that have no other tie to a test.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use tokio::sync::oneshot;

use crate::process::DEADLINE;

/// A pipe that processes open to write to, by its path.
#[derive(Debug)]
pub struct Witness {
    path: PathBuf,
    lines: oneshot::Receiver<Vec<String>>,
    rest: oneshot::Receiver<String>,
    _dir: tempfile::TempDir,
}

impl Witness {
    /// A pipe that waits for so many lines before it is over with them.
    pub fn of_lines(count: usize) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("slowlane-witness-").tempdir()?;
        let path = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().context("mkfifo")?;
        ensure!(made.success(), "mkfifo: {made}");
        let (tell_lines, lines) = oneshot::channel();
        let (tell_rest, rest) = oneshot::channel();
        let pipe = path.clone();
        // A thread, since opening waits for the first who opens it from the other side.
        std::thread::spawn(move || {
            let Ok(pipe) = std::fs::File::open(pipe) else { return };
            let (mut pipe, mut text) = (BufReader::new(pipe), String::new());
            let _sent =
                tell_lines.send((&mut pipe).lines().take(count).map_while(Result::ok).collect());
            if pipe.read_to_string(&mut text).is_ok() {
                let _sent = tell_rest.send(text);
            }
        });
        Ok(Self { path, lines, rest, _dir: dir })
    }

    /// Where the pipe is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the first lines, within [`DEADLINE`].
    pub async fn lines(&mut self) -> Result<Vec<String>> {
        let lines = tokio::time::timeout(DEADLINE, &mut self.lines).await;
        lines.context("nobody wrote the lines within a minute")?.context("the pipe can't be read")
    }

    /// Waits, within [`DEADLINE`], until nobody has the pipe open any more; gives what was written after the lines.
    pub async fn nobody(self) -> Result<String> {
        let rest = tokio::time::timeout(DEADLINE, self.rest).await;
        rest.context("after a minute somebody still has the pipe open")?
            .context("the pipe can't be read")
    }
}
