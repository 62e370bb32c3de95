//! Standard output of `setup`: what was found or done.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
};

use tracing::warn;

/// Prints a text and a line break. The exit code says what was found, too, so it stays the same where nothing can be printed.
pub(crate) fn print(text: impl Display) {
    if let Err(error) = print_to(&mut io::stdout().lock(), text) {
        warn!("the report can't be written: {error}");
    }
}

/// A reader that is gone, as after `| head`, has read what it wanted.
fn print_to(out: &mut impl Write, text: impl Display) -> io::Result<()> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_is_gone_is_no_error() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        print_to(&mut writer, "text").unwrap();
        assert!(print_to(&mut [0; 3].as_mut_slice(), "text").is_err());
    }
}
