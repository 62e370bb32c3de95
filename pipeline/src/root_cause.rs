//! Root cause: the innermost source of an error. Those above it often only say what was being done.

use std::error::Error;

/// The innermost source of an error, or the error itself.
pub fn root_cause<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("reading a file")]
    struct Reading(#[source] io::Error);

    #[test]
    fn the_innermost_source_is_the_cause() {
        let error = Reading(io::Error::other("the disk is gone"));
        assert_eq!(root_cause(&error).to_string(), "the disk is gone");
        assert_eq!(root_cause(&io::Error::other("alone")).to_string(), "alone");
    }
}
