//! The command line of `PROCESSOR_COMMAND`: a program that was found, and its arguments.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// A command that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The program, as an absolute path.
    pub(super) program: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<String>,
}

/// Why a text is no command that can be started.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidCommandLine {
    /// A quote is not closed.
    #[error("its quotes don't match")]
    Quotes,
    /// There is no word.
    #[error("it names no program")]
    Empty,
    /// The program is a file without the right to be executed.
    #[error(
        "the file {0:?} can't be run: make it executable, or begin with what runs it, like python3"
    )]
    NotExecutable(String),
    /// The program was not found.
    #[error("there is no program {0:?} that can be run")]
    NotFound(String),
}

impl CommandLine {
    /// Splits a text into words as a shell would, by white space, quotes and backslashes, and finds the program: in
    /// `PATH`, or relative to the current folder if it contains a slash.
    ///
    /// # Errors
    /// If the text cannot be split, or the program is not there or cannot be executed.
    pub fn parse(text: &str) -> Result<Self, InvalidCommandLine> {
        let mut words = shlex::split(text).ok_or(InvalidCommandLine::Quotes)?.into_iter();
        let name = words.next().ok_or(InvalidCommandLine::Empty)?;
        match which::which(&name) {
            Ok(program) => Ok(Self { program, arguments: words.collect() }),
            Err(_) if name.contains('/') && Path::new(&name).is_file() => {
                Err(InvalidCommandLine::NotExecutable(name))
            }
            Err(_) => Err(InvalidCommandLine::NotFound(name)),
        }
    }
}

impl fmt::Display for CommandLine {
    /// The program alone, since arguments may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.program.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would() {
        let line = CommandLine::parse(r#"sh -c 'echo "$1" | wc' a\ b "c d" '' $HOME;"#).unwrap();
        assert!(line.program.is_absolute() && line.program.ends_with("sh"), "{line:?}");
        assert_eq!(line.arguments, ["-c", r#"echo "$1" | wc"#, "a b", "c d", "", "$HOME;"]);
    }

    #[test]
    fn a_command_that_cannot_be_started_is_refused() {
        for (text, why) in [
            ("sh -c 'oops", "quotes"),
            (" # only a comment", "no program"),
            ("no-such-program --fast", "\"no-such-program\""),
            ("/etc", "no program \"/etc\""),
            ("/etc/passwd", "make it executable"),
            ("./no/such/program", "./no/such/program"),
            ("''", "no program \"\""),
        ] {
            let error = CommandLine::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
