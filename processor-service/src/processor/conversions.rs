//! What `?` makes of other errors: permanent and transient failures. [`ProcessError`] has the table.

use std::{error::Error, io::ErrorKind};

use crate::processor::error::ProcessError;

macro_rules! permanent {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for ProcessError {
            fn from(error: $error) -> Self {
                Self::permanent(with_sources(&error))
            }
        })+
    };
}

macro_rules! transient {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for ProcessError {
            fn from(error: $error) -> Self {
                Self::transient(with_sources(&error))
            }
        })+
    };
}

permanent! {
    std::num::ParseIntError,
    std::num::ParseFloatError,
    std::num::TryFromIntError,
    std::str::ParseBoolError,
    std::char::ParseCharError,
    std::char::CharTryFromError,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
    std::net::AddrParseError,
}

transient! {
    std::env::VarError,
    std::time::SystemTimeError,
    tokio::time::error::Elapsed,
}

impl From<serde_json::Error> for ProcessError {
    fn from(error: serde_json::Error) -> Self {
        match error.io_error_kind() {
            Some(kind) => io(kind, &error),
            None => Self::permanent(with_sources(&error)),
        }
    }
}

impl From<std::io::Error> for ProcessError {
    fn from(error: std::io::Error) -> Self {
        io(error.kind(), &error)
    }
}

impl From<tokio::task::JoinError> for ProcessError {
    fn from(error: tokio::task::JoinError) -> Self {
        match error.is_panic() {
            true => Self::permanent(error),
            false => Self::transient(error),
        }
    }
}

impl From<anyhow::Error> for ProcessError {
    fn from(error: anyhow::Error) -> Self {
        error.downcast().unwrap_or_else(|error| Self::transient(format!("{error:#}")))
    }
}

impl From<Box<dyn Error + Send + Sync>> for ProcessError {
    fn from(error: Box<dyn Error + Send + Sync>) -> Self {
        match error.downcast() {
            Ok(error) => *error,
            Err(error) => Self::transient(with_sources(&*error)),
        }
    }
}

fn io(kind: ErrorKind, error: &dyn Error) -> ProcessError {
    let message = with_sources(error);
    match kind {
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Unsupported => {
            ProcessError::permanent(message)
        }
        _ => ProcessError::transient(message),
    }
}

/// The error's message and those of its sources, as in `a: b: c`.
fn with_sources(error: &dyn Error) -> String {
    let sources = std::iter::successors(error.source(), |source| (*source).source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::processor::error::Retry;

    fn retry(error: impl Into<ProcessError>) -> Retry {
        error.into().retry
    }

    #[test]
    fn bad_data_is_permanent_and_what_can_be_repaired_is_transient() {
        assert_eq!(retry("x".parse::<i32>().unwrap_err()), Retry::Never);
        assert_eq!(retry(String::from_utf8(vec![255]).unwrap_err()), Retry::Never);
        assert_eq!(retry(serde_json::from_str::<u8>("-1").unwrap_err()), Retry::Never);
        assert_eq!(retry(io::Error::from(ErrorKind::InvalidData)), Retry::Never);
        assert_eq!(retry(io::Error::from(ErrorKind::NotFound)), Retry::Default);
        assert_eq!(retry(std::env::VarError::NotPresent), Retry::Default);
        let broken = io::Read::chain(&b"[1,"[..], Broken);
        assert_eq!(
            retry(serde_json::from_reader::<_, Vec<u8>>(broken).unwrap_err()),
            Retry::Default
        );
    }

    /// A connection that breaks off.
    struct Broken;

    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::ConnectionReset.into())
        }
    }

    #[tokio::test]
    async fn a_panic_in_a_task_is_permanent_and_its_end_is_transient() {
        let panicked = tokio::spawn(async { panic!("as the test orders") }).await.unwrap_err();
        assert_eq!(retry(panicked), Retry::Never);
        let task = tokio::spawn(std::future::pending::<()>());
        task.abort();
        assert_eq!(retry(task.await.unwrap_err()), Retry::Default);
    }

    #[test]
    fn other_errors_are_transient_and_tell_their_sources() {
        let error = anyhow::anyhow!("inside").context("outside");
        assert_eq!(ProcessError::from(error).message, "outside: inside");
        let error = ProcessError::from(Box::<dyn Error + Send + Sync>::from("unknown"));
        assert_eq!((error.message.as_str(), error.retry), ("unknown", Retry::Default));
    }

    #[test]
    fn a_process_error_survives_its_wrapping() {
        let error = || ProcessError::permanent("no").with_code("teapot");
        assert_eq!(ProcessError::from(anyhow::Error::from(error())).code, "teapot");
        let boxed: Box<dyn Error + Send + Sync> = Box::new(error());
        assert_eq!(ProcessError::from(boxed).retry, Retry::Never);
    }
}
