//! The command line of `PROCESSOR_COMMAND`: a program that was found, and its arguments.

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Programs whose first argument that is a file is what they run.
const INTERPRETERS: [&str; 17] = [
    "sh", "bash", "dash", "zsh", "ksh", "python", "pypy", "node", "deno", "bun", "ruby", "perl",
    "php", "java", "lua", "Rscript", "dotnet",
];

/// A command that can be started. Its arguments may be secret, so `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The program, as it was written.
    name: String,
    /// The program, as an absolute path.
    pub(super) program: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<String>,
    /// What the program runs, if it is an interpreter.
    script: Option<PathBuf>,
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
            Ok(program) => {
                let arguments: Vec<String> = words.collect();
                let script = script(&program, &arguments);
                Ok(Self { name, program, arguments, script })
            }
            Err(_) if name.contains('/') && Path::new(&name).is_file() => {
                Err(InvalidCommandLine::NotExecutable(name))
            }
            Err(_) => Err(InvalidCommandLine::NotFound(name)),
        }
    }
}

impl CommandLine {
    /// The file that can't be read since the program started: the program itself, or what it runs.
    pub(super) fn missing_file(&self) -> Option<&Path> {
        let can_be_run = self.program.exists();
        let can_be_read = |script: &PathBuf| File::open(script).is_ok();
        match &self.script {
            _ if !can_be_run => Some(&self.program),
            Some(script) if !can_be_read(script) => Some(script),
            _ => None,
        }
    }
}

/// The first argument that is a file, if the program is an interpreter. Of other programs, the arguments are data.
fn script(program: &Path, arguments: &[String]) -> Option<PathBuf> {
    let name = program.file_name()?.to_str()?;
    let is_interpreter = INTERPRETERS.iter().any(|known| {
        // With its version, such as `python3.12`.
        name.strip_prefix(known).is_some_and(|rest| rest.chars().all(|c| !c.is_alphabetic()))
    });
    let mut files = arguments.iter().map(PathBuf::from).filter(|path| path.is_file());
    files.next().filter(|_| is_interpreter)
}

impl fmt::Display for CommandLine {
    /// The command as it was written, for people. What may be a secret is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let mut is_secret = false;
        for argument in &self.arguments {
            let shown = if is_secret { HIDDEN } else { shown(argument) };
            // Only a NUL can't be quoted, and no argument has one.
            write!(f, " {}", shlex::try_quote(shown).unwrap_or_default())?;
            is_secret = argument.starts_with('-') && sounds_secret(argument);
        }
        Ok(())
    }
}

impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandLine({} {HIDDEN})", self.name)
    }
}

/// What stands for a secret.
const HIDDEN: &str = "...";
/// Words in the names of secrets.
const SECRET_WORDS: [&str; 9] =
    ["key", "token", "secret", "passw", "pwd", "auth", "bearer", "credential", "cookie"];

/// An argument, if it isn't one with a value that may be secret, such as `--token=...`, a URL with a password, or a
/// script.
fn shown(argument: &str) -> &str {
    let has_value = argument.contains(['=', ':', ' ']);
    let is_url_with_user = argument.contains("://") && argument.contains('@');
    if is_url_with_user || (has_value && sounds_secret(argument)) { HIDDEN } else { argument }
}

fn sounds_secret(text: &str) -> bool {
    let text = text.to_lowercase();
    SECRET_WORDS.iter().any(|word| text.contains(word))
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
    fn a_command_is_shown_with_its_arguments_but_not_with_secrets() {
        for (text, expected) in [
            ("sh work.sh --fast", "sh work.sh --fast"),
            ("sh 'my work.sh' -n 3", "sh 'my work.sh' -n 3"),
            ("sh a --api-key s3cret b", "sh a --api-key ... b"),
            ("sh a --TOKEN=s3cret", "sh a ..."),
            ("sh -c 'curl -H \"Authorization: Bearer s3cret\" x'", "sh -c ..."),
            ("sh a http://me:s3cret@host/", "sh a ..."),
            ("sh tokenize.py", "sh tokenize.py"),
        ] {
            assert_eq!(CommandLine::parse(text).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn no_argument_is_shown_in_debug_output() {
        let line = CommandLine::parse("sh a hunter2").unwrap();
        assert_eq!(format!("{line:?}"), "CommandLine(sh ...)");
    }

    #[test]
    fn what_an_interpreter_runs_must_not_go_missing() {
        let dir = tempfile::tempdir().unwrap();
        let [script, other] = ["work.sh", "data"].map(|name| dir.path().join(name));
        for file in [&script, &other] {
            std::fs::write(file, "").unwrap();
        }
        let line = |program| {
            let line = format!("{program} -e {} {} no-file", script.display(), other.display());
            CommandLine::parse(&line).unwrap()
        };
        let (line, of_other) = (line("sh"), line("cat"));
        std::fs::remove_file(other).unwrap();
        assert_eq!(line.missing_file(), None, "the command may remove its data");
        std::fs::remove_file(&script).unwrap();
        assert_eq!(line.missing_file(), Some(script.as_path()));
        assert_eq!(of_other.missing_file(), None, "its arguments are data");
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
