//! Asks before everything is discarded, which nothing brings back.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::{exit::Failure, output};

/// Whether there is somebody to be asked.
///
/// # Errors
/// If standard input is no terminal.
pub(super) fn can_be_asked() -> Result<(), Failure> {
    match io::stdin().is_terminal() {
        true => Ok(()),
        false => Err(Failure::Usage(
            "this discards everything, and nothing brings it back: add --yes if that is meant, or look with --dry-run"
                .to_owned(),
        )),
    }
}

/// Asks whether to discard so many. Anything but yes means no.
///
/// # Errors
/// If the answer can't be read.
pub(super) fn discard(count: usize) -> Result<bool, Failure> {
    if count == 0 {
        return Ok(true);
    }
    let mut terminal = io::stderr();
    let asked = write!(terminal, "slowlane: discard {count} for ever? [y/N] ");
    let asked = asked.and_then(|()| terminal.flush());
    asked.and_then(|()| answer(io::stdin().lock())).map_err(|error| {
        Failure::Other(anyhow::Error::new(error).context("the answer can't be read"))
    })
}

fn answer(mut input: impl BufRead) -> io::Result<bool> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let is_yes = ["y", "yes"].contains(&line.trim().to_lowercase().as_str());
    if !is_yes {
        output::note("nothing was discarded");
    }
    Ok(is_yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_means_yes() {
        for (typed, is_yes) in [
            ("y\n", true),
            ("Yes\n", true),
            ("\n", false),
            ("", false),
            ("n\n", false),
            ("yo\n", false),
        ] {
            assert_eq!(answer(typed.as_bytes()).unwrap(), is_yes, "{typed:?}");
        }
    }
}
