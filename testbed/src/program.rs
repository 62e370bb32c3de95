//! The workspace's own programs as child processes.

use std::{ffi::OsString, io::PipeWriter, path::PathBuf, sync::Arc};

use anyhow::Result;
use tempfile::TempDir;

use crate::{
    process::{self, Process, Start},
    workspace,
};

/// A program to be started: `Program::new("web-service").env("HTTP_ADDR", "127.0.0.1:0").start()`.
///
/// It sees `PATH` and what it is given here, nothing else, and runs in an empty folder of its own, so that neither
/// the environment nor a `.env` file of the developer can point it at a real broker.
#[derive(Debug)]
pub struct Program {
    path: Result<PathBuf>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    keep_lines: usize,
    stderr: Option<PipeWriter>,
}

/// A started [`Program`]: the process, and the folder it runs in.
#[derive(Debug)]
pub struct Running {
    process: Process,
    dir: TempDir,
}

impl Program {
    /// The program that cargo built under this name.
    pub fn new(name: &str) -> Self {
        Self::of(workspace::binary(name))
    }

    /// A program of somebody else.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self::of(Ok(path.into()))
    }

    /// A program that is not there is reported at its start.
    fn of(path: Result<PathBuf>) -> Self {
        Self {
            path,
            args: Vec::new(),
            env: process::minimal_env(),
            dir: None,
            keep_lines: usize::MAX,
            stderr: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds a variable to its environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Runs it in this folder instead of an empty one of its own.
    #[must_use]
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Keeps this many of its lines, the latest: for a program that runs for long.
    #[must_use]
    pub fn keep_lines(mut self, lines: usize) -> Self {
        self.keep_lines = lines;
        self
    }

    /// Sends its standard error into this pipe; then its log is not captured.
    #[must_use]
    pub fn stderr(mut self, pipe: PipeWriter) -> Self {
        self.stderr = Some(pipe);
        self
    }

    /// Starts it.
    pub fn start(self) -> Result<Running> {
        // Outside the workspace, or a program that looks for `.env` in parent folders would not be found out.
        let dir = tempfile::Builder::new().prefix("slowlane-program-").tempdir()?;
        let current = self.dir.as_deref().unwrap_or(dir.path());
        let mut start = Start::new(self.path?, current);
        start.remove_if_orphaned = Some(dir.path().to_owned());
        start.keep_lines = self.keep_lines;
        start.stderr = self.stderr.map(Arc::new);
        let process = start.args(self.args).envs(self.env).spawn()?;
        Ok(Running { process, dir })
    }
}

impl Running {
    /// The folder it runs in.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }
}

impl std::ops::Deref for Running {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}
