//! `slowlane completions`: prints the completions for a shell.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::{
    arguments::Arguments,
    exit::{Exit, Failure},
    output,
};

/// Prints the completion script of a shell.
pub(crate) fn run(shell: Shell) -> Result<Exit, Failure> {
    // `generate` panics if it can't write, as it can't to a closed standard output.
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), "slowlane", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Completed)
}
