//! `slowlane completions SHELL`.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::{
    arguments::Arguments,
    exit::{Exit, Failure},
    output,
};

/// Prints what a shell needs to complete our command lines.
pub(crate) fn run(shell: Shell) -> Result<Exit, Failure> {
    // Straight to standard output, it would panic where nobody reads it.
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), "slowlane", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Completed)
}
