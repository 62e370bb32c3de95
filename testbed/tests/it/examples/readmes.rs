//! The READMEs of the examples: their commands run as written, one after the other.

use std::{ffi::OsString, fs, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use pipeline::log_messages::{CONSUMING, LISTENING};
use tempfile::TempDir;
use testbed::{
    Program, media, ports,
    process::{self, Start, WAIT_TIMEOUT},
    program::Running,
    shared_node, workspace,
};

use crate::support::{documents::commands, wait::settles};

/// The ports of the READMEs: the web service's, and those of the services of the examples.
const PORTS: [u16; 5] = [3000, 8000, 8001, 8002, 8003];
/// How long a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);
/// The exit code of `slowlane bulk` if some requests have failed.
const SOME_FAILED: i32 = 3;

/// A reader's terminals, on a virtual host of its own. The ports of the README are replaced by free ones.
struct Terminals {
    broker: String,
    folder: TempDir,
    /// The addresses of the README, and those in place of them.
    ports: Vec<(String, String)>,
    /// Where programs are found.
    path: OsString,
    programs: Vec<Running>,
}

impl Terminals {
    async fn open() -> Result<Self> {
        let address = |port: u16| format!("127.0.0.1:{port}");
        let ports = PORTS.map(|port| Ok((address(port), address(ports::free()?))));
        let ports = ports.into_iter().collect::<Result<_>>()?;
        let (broker, folder) = (shared_node::vhost().await.url, tempfile::tempdir()?);
        let path = process::minimal_env().remove(0).1;
        Ok(Self { broker, folder, ports, path, programs: Vec::new() })
    }

    async fn run(&mut self, command: &str) -> Result<()> {
        let replaced = |text: String, (port, free): &(String, String)| text.replace(port, free);
        let command = self.ports.iter().fold(command.to_owned(), replaced);
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            ["cargo", "xtask", "example", name, "--once"] => has_example(name).await,
            ["cargo", "run", "-p", _, "--bin", program, "--", ref arguments @ ..] => {
                self.start(program, arguments, LISTENING).await
            }
            ["cargo", "run", "--bin", program, "--", ref arguments @ ..] => match program {
                "web-service" => self.start(program, arguments, LISTENING).await,
                "processor-service" => self.start(program, arguments, CONSUMING).await,
                _ => self.run_to_end(program, arguments).await,
            },
            ["cd", folder] => self.copy(folder),
            ["sh", ..] => {
                let status = self.shell(&command)?.wait_within(COMMAND_TIMEOUT).await?;
                ensure!(status.success(), "{status}");
                Ok(())
            }
            ["curl", ..] => self.curl(&command).await,
            _ => bail!("nothing here knows how to run it"),
        }
    }

    /// Copies the files of a folder of the project to where the reader is.
    fn copy(&self, folder: &str) -> Result<()> {
        for entry in fs::read_dir(workspace::root().join(folder))? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|end| end == "sh") {
                fs::copy(entry.path(), self.folder.path().join(entry.file_name()))?;
            }
        }
        Ok(())
    }

    /// Runs a line in a shell, in the reader's folder.
    fn shell(&self, line: &str) -> Result<Running> {
        let (_, web) = &self.ports[0];
        let shell = Program::at("/bin/sh").arg("-c").arg(line).current_dir(self.folder.path());
        let shell = shell.env("PATH", &self.path).env("AMQP_URL", &self.broker);
        let shell = shell.env("HTTP_ADDR", web).env("SLOWLANE_URL", format!("http://{web}"));
        shell.env("LOG_FORMAT", "json").start()
    }

    async fn run_to_end(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let program = workspace::binary(program)?;
        let line = format!("exec '{}' {}", program.display(), arguments.join(" "));
        let running = self.shell(&line)?;
        let status = running.wait_within(COMMAND_TIMEOUT).await?;
        let may_fail = arguments.first() == Some(&"bulk") && status.code() == Some(SOME_FAILED);
        ensure!(status.success() || may_fail, running.error(&format!("ended with {status}")));
        Ok(())
    }

    async fn start(&mut self, program: &str, arguments: &[&str], ready: &str) -> Result<()> {
        let program = workspace::binary(program)?;
        let line = format!("exec '{}' {}", program.display(), arguments.join(" "));
        let running = self.shell(&line)?;
        running.wait_for_message(ready).await?;
        self.programs.push(running);
        Ok(())
    }

    /// Runs the line in a shell until the call succeeds: the services tell each other in the background.
    async fn curl(&self, line: &str) -> Result<()> {
        settles(line, async || {
            let shell = Start::new("/bin/sh", self.folder.path()).args(["-c", line]);
            let lines = process::run(shell.envs(process::minimal_env()), WAIT_TIMEOUT).await?;
            Ok(lines.iter().any(|line| line.contains("HTTP/1.1 20")))
        })
        .await
    }
}

async fn has_example(name: &str) -> Result<()> {
    let help = Start::new(workspace::binary("xtask")?, workspace::root());
    let help = help.args(["example", "--help"]).envs(process::minimal_env());
    let lines = process::run(help, WAIT_TIMEOUT).await?;
    ensure!(lines.iter().any(|line| line.contains(name)), "{lines:?}");
    Ok(())
}

/// Runs the commands in the README of an example.
pub(super) async fn every_command_works(example: &str) -> Result<()> {
    let document = format!("examples/{example}/README.md");
    let mut terminals = Terminals::open().await?;
    if example == "thumbnails" {
        terminals.path = media::path_with_tools(&|line| println!("media: {line}")).await?;
    }
    let commands = commands(&document)?;
    ensure!(!commands.is_empty(), "{document} has no commands");
    for command in commands {
        terminals.run(&command).await.with_context(|| format!("{document}: {command}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn every_command_in_the_readmes_of_the_examples_works() -> Result<()> {
    for example in ["catalogue-sync", "profile-updates"] {
        every_command_works(example).await?;
    }
    Ok(())
}
