//! Standard output for results, standard error for notes about them.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
};

/// Prints a line on standard output.
///
/// # Errors
/// If it can't be written; `BrokenPipe` if the reader is gone, as after `| head`.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    // One write, so that lines of other writers to the same file can't come in between.
    let text = format!("{text}\n");
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Prints a line that the exit code tells of, too. A reader that is gone changes neither the code nor what the command has
/// still to do.
///
/// # Errors
/// If it can't be written for another reason.
pub(crate) fn answer(text: impl Display) -> io::Result<()> {
    unless_closed(line(text))
}

fn unless_closed(printed: io::Result<()>) -> io::Result<()> {
    match printed {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// Prints a note on standard error. Nothing depends on it, so a failure is ignored.
pub(crate) fn note(text: impl Display) {
    let _ = io::stderr().write_all(format!("slowlane: {text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_is_gone_is_no_error_of_an_answer() {
        let failed =
            |kind: ErrorKind| unless_closed(Err(kind.into())).map_err(|error| error.kind());
        assert_eq!(failed(ErrorKind::BrokenPipe), Ok(()));
        assert_eq!(failed(ErrorKind::StorageFull), Err(ErrorKind::StorageFull));
    }
}
