//! The READMEs of the examples: their commands run as written, one after the other.

use anyhow::{Context, Result, bail, ensure};
use pipeline::log_messages::LISTENING;
use tempfile::TempDir;
use testbed::{
    Program, ports,
    process::{self, Start, WAIT_TIMEOUT},
    program::Running,
    shared_node, workspace,
};

use crate::support::{documents::commands, wait::settles};

/// A reader's terminals, on a virtual host of its own. The ports of the README are replaced by free ones.
struct Terminals {
    broker: String,
    folder: TempDir,
    ports: Vec<(String, String)>,
    programs: Vec<Running>,
}

impl Terminals {
    async fn open() -> Result<Self> {
        let ports = (8000..8004)
            .map(|port| Ok((format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", ports::free()?))));
        let (broker, folder) = (shared_node::vhost().await.url, tempfile::tempdir()?);
        Ok(Self { broker, folder, ports: ports.collect::<Result<_>>()?, programs: Vec::new() })
    }

    async fn run(&mut self, command: &str) -> Result<()> {
        let replaced = |text: String, (port, free): &(String, String)| text.replace(port, free);
        let command = self.ports.iter().fold(command.to_owned(), replaced);
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            ["cargo", "xtask", "example", name, "--once"] => has_example(name).await,
            ["cargo", "run", "-p", _, "--bin", program, "--", ref arguments @ ..] => {
                self.start(program, arguments).await
            }
            ["curl", ..] => self.curl(&command).await,
            _ => bail!("nothing here knows how to run it"),
        }
    }

    async fn start(&mut self, program: &str, arguments: &[&str]) -> Result<()> {
        let program = Program::new(program).current_dir(self.folder.path());
        let program = program.env("AMQP_URL", &self.broker).env("LOG_FORMAT", "json");
        let running = arguments.iter().fold(program, Program::arg).start()?;
        running.wait_for_message(LISTENING).await?;
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

#[tokio::test]
async fn every_command_in_the_readmes_of_the_examples_works() -> Result<()> {
    for example in ["catalogue-sync", "profile-updates"] {
        let document = format!("examples/{example}/README.md");
        let mut terminals = Terminals::open().await?;
        let commands = commands(&document)?;
        ensure!(!commands.is_empty(), "{document} has no commands");
        for command in commands {
            terminals.run(&command).await.with_context(|| format!("{document}: {command}"))?;
        }
    }
    Ok(())
}
