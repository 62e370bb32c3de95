//! The work that `dev` is started with: simulated, a command for each request, or a worker of the user's own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use pipeline::config::{Source, variables};
use testbed::{Program, workspace};

use crate::system::launch::Launch;

/// Options that name the work.
#[derive(Debug, Args)]
pub(super) struct WorkOptions {
    /// The work: a command like 'python3 work.py', which is started for each request; it reads the data from standard input and writes the result to standard output
    #[arg(long, value_name = "COMMAND")]
    command: Option<String>,

    /// The work: a worker of your own, a program with its arguments, which finds the broker in AMQP_URL
    #[arg(long, value_name = "BINARY", conflicts_with = "command")]
    worker: Option<String>,
}

/// What a worker does.
pub(super) enum Work {
    /// What the settings say: the simulated work, unless `PROCESSOR` is set.
    Configured {
        /// The value of `PROCESSOR`.
        processor: String,
    },
    /// A command for each request.
    Command(CommandLine),
    /// A worker of the user's own.
    Worker(CommandLine),
}

/// A program and its arguments.
pub(super) struct CommandLine {
    text: String,
    program: PathBuf,
    words: Vec<String>,
}

impl Work {
    /// The work that the options and settings name. Relative paths begin in the folder `here`.
    pub(super) fn of(options: &WorkOptions, settings: &Source, here: &Path) -> Result<Self> {
        if let Some(command) = &options.command {
            return Ok(Self::Command(CommandLine::of(command, here).context("--command")?));
        }
        if let Some(worker) = &options.worker {
            return Ok(Self::Worker(CommandLine::of(worker, here).context("--worker")?));
        }
        let usual = variables::PROCESSOR.default.unwrap_or_default();
        let processor = settings.get(&variables::PROCESSOR).map_or(usual, |(value, _)| value);
        Ok(Self::Configured { processor: processor.to_owned() })
    }

    /// The files that the work consists of, as far as its command line names them.
    pub(super) fn files(&self, here: &Path) -> Result<Vec<PathBuf>> {
        let (Self::Command(line) | Self::Worker(line)) = self else {
            bail!("--watch needs --command or --worker: there is no file to watch");
        };
        // A program that was found on the PATH, like an interpreter, is nobody's work.
        let files: Vec<_> =
            line.words.iter().map(|word| here.join(word)).filter(|path| path.is_file()).collect();
        ensure!(
            !files.is_empty(),
            "--watch: `{}` names no file in {}, so there is nothing to watch",
            line.text,
            here.display()
        );
        Ok(files)
    }

    /// The worker's program.
    pub(super) fn program(&self, launch: &Launch) -> Program {
        let own = || launch.program("processor-service");
        match self {
            Self::Configured { .. } => own(),
            Self::Command(line) => {
                own().env("PROCESSOR", "command").env("PROCESSOR_COMMAND", &line.text)
            }
            Self::Worker(line) => {
                let program = launch.prepare(Program::at(&line.program));
                line.words.iter().skip(1).fold(program, Program::arg)
            }
        }
    }

    /// Whether it is not the simulated work.
    pub(super) fn is_own(&self) -> bool {
        !matches!(self, Self::Configured { processor } if processor == "simulate")
    }

    /// What it is, for people.
    pub(super) fn description(&self) -> String {
        match self {
            Self::Configured { processor } if processor == "simulate" => {
                "does simulated work; give it yours with --command 'python3 work.py'".to_owned()
            }
            Self::Configured { processor } => format!("works as PROCESSOR={processor} says"),
            Self::Command(line) => format!("runs `{}` for each request", line.text),
            Self::Worker(line) => format!("is `{}`", line.text),
        }
    }
}

impl CommandLine {
    fn of(text: &str, here: &Path) -> Result<Self> {
        let words =
            shlex::split(text).with_context(|| format!("the quotes of `{text}` don't match"))?;
        let name = words.first().context("it names no program")?;
        let program = if name.contains('/') {
            Some(here.join(name)).filter(|path| path.is_file())
        } else {
            workspace::on_path(name)
        };
        let program = program.with_context(|| not_found(name, here))?;
        Ok(Self { text: text.to_owned(), program, words })
    }
}

fn not_found(name: &str, here: &Path) -> String {
    match here.join(name).is_file() {
        true => format!(
            "there is no program {name} on the PATH; for the file in this folder write ./{name}"
        ),
        false => format!("there is no program {name}"),
    }
}

#[cfg(test)]
mod tests {
    use pipeline::config::Source;

    use super::*;

    fn work(command: &str, here: &Path) -> Result<Work> {
        let options = WorkOptions { command: Some(command.to_owned()), worker: None };
        Work::of(&options, &Source::of(&[]), here)
    }

    #[test]
    fn the_files_that_a_command_names_are_watched() -> Result<()> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("work.py"), "")?;
        let files = work("sh work.py --fast none.txt", folder.path())?.files(folder.path())?;
        assert_eq!(files, [folder.path().join("work.py")]);
        assert!(work("sh -c true", folder.path())?.files(folder.path()).is_err());
        Ok(())
    }

    #[test]
    fn a_program_that_is_not_there_is_reported_before_anything_starts() -> Result<()> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("work.sh"), "")?;
        let error = |command| work(command, folder.path()).err().map(|error| format!("{error:#}"));
        let contains = |command, text: &str| error(command).is_some_and(|it| it.contains(text));
        assert!(contains("work.sh", "write ./work.sh"), "{:?}", error("work.sh"));
        assert!(contains("./gone.sh", "no program ./gone.sh") && contains("'", "quotes"));
        assert_eq!(error("./work.sh"), None);
        Ok(())
    }
}
