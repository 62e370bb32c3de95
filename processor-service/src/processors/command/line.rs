//! The command that is started: a program that was found, and its arguments.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A command that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The program, as an absolute path.
    pub(super) program: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<String>,
}

impl CommandLine {
    /// Splits a text into words as a shell would, which is all that is taken over from shells, and looks
    /// for the program: in `PATH`, or from the current folder on if it holds a slash.
    ///
    /// # Errors
    /// A sentence, if the words can't be told apart or the program is not there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = shlex::split(text).ok_or("its quotes don't match")?.into_iter();
        let name = words.next().ok_or("it names no program")?;
        let program = which::which(&name).map_err(|_| missing(&name))?;
        Ok(Self { program, arguments: words.collect() })
    }
}

/// Why a program can't be started.
fn missing(name: &str) -> String {
    if name.contains('/') && Path::new(name).is_file() {
        format!(
            "the file {name:?} can't be run: make it executable, or begin with what runs it, like python3"
        )
    } else {
        format!("there is no program {name:?} that can be run")
    }
}

impl fmt::Display for CommandLine {
    /// The program alone: arguments may hold what is nobody's business.
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
    fn what_cannot_be_started_is_refused() {
        for (text, why) in [
            ("sh -c 'oops", "quotes"),
            (" # only a comment", "no program"),
            ("no-such-program --fast", "\"no-such-program\""),
            ("/etc", "no program \"/etc\""),
            ("/etc/passwd", "make it executable"),
            ("./no/such/program", "./no/such/program"),
            ("''", "no program \"\""),
        ] {
            let error = CommandLine::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
