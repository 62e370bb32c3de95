//! The command line as a child process: its arguments, its output, its exit code.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{
    Program,
    process::{self, Start},
    program::Running,
    workspace,
};

/// A request that nobody has sent.
pub(crate) const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

/// `slowlane` with these words behind it.
pub(crate) fn slowlane(base: &str, words: &[&str]) -> Program {
    let program = Program::new("slowlane").env("SLOWLANE_URL", base);
    words.iter().fold(program, Program::arg)
}

/// What a command has said, and its exit code.
pub(crate) struct CliOutput {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl CliOutput {
    pub(crate) async fn by(program: &Running) -> Result<Self> {
        let (status, text) = program.ended().await?;
        ensure!(!text.contains("panicked"), "{text}");
        Ok(Self { code: status.code(), text })
    }

    pub(crate) fn json(&self) -> Result<Value> {
        let line = self.text.lines().find(|line| line.starts_with('{'));
        Ok(serde_json::from_str(line.with_context(|| self.text.clone())?)?)
    }

    pub(crate) fn has_line(&self, wanted: &str) -> bool {
        self.text.lines().any(|line| line == wanted)
    }
}

pub(crate) async fn run_slowlane(base: &str, words: &[&str]) -> Result<CliOutput> {
    CliOutput::by(&slowlane(base, words).start()?).await
}

/// The same; whoever reads its standard output is gone, as after `| head`. The text is what it has said on standard error.
pub(crate) async fn run_without_reader(base: &str, words: &[&str]) -> Result<CliOutput> {
    without_reader(words, &[("SLOWLANE_URL", base)]).await
}

/// The same with another environment.
pub(crate) async fn without_reader(words: &[&str], env: &[(&str, &str)]) -> Result<CliOutput> {
    // Once nothing more can be written into the pipe, its reader is gone.
    let script = r#"trap '' PIPE
        { while echo 2>/dev/null; do :; done; "$0" "$@"; echo "ended with $?" >&2; } | :"#;
    let folder = tempfile::tempdir()?;
    let slowlane = workspace::binary("slowlane")?.display().to_string();
    let shell = Start::new("/bin/sh", folder.path()).args(["-c", script, &slowlane]).args(words);
    let shell = shell.envs(process::minimal_env()).envs(env.iter().copied()).spawn()?;
    let (_, text) = shell.ended().await?;
    ensure!(!text.contains("panicked"), "{text}");
    let (text, code) = text.rsplit_once("ended with ").context("an exit code")?;
    Ok(CliOutput { code: Some(code.trim().parse()?), text: text.trim_end().to_owned() })
}
