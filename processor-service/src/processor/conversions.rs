//! What `?` makes of other errors: permanent and transient failures. [`ProcessError`] has the table.

use std::{any::Any, error::Error, io::ErrorKind};

use crate::processor::error::{Carried, ProcessError, with_causes};

impl<E> From<E> for ProcessError
where
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    fn from(error: E) -> Self {
        let is_permanent = is_permanent(&error);
        let error = into_anyhow(error);
        match inside(&error) {
            Some(own) => own,
            None if is_permanent => Self::permanent(error),
            None => Self::transient(error),
        }
    }
}

/// Whether this is an error that the same data would meet again. Errors inside other errors don't count: what failed there
/// need not be the data of the request.
fn is_permanent(error: &dyn Any) -> bool {
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        return is_about_data(error.kind());
    }
    if let Some(error) = error.downcast_ref::<serde_json::Error>() {
        return error.io_error_kind().is_none_or(is_about_data);
    }
    error.is::<std::num::ParseIntError>()
        || error.is::<std::num::ParseFloatError>()
        || error.is::<std::num::TryFromIntError>()
        || error.is::<std::str::ParseBoolError>()
        || error.is::<std::char::ParseCharError>()
        || error.is::<std::char::CharTryFromError>()
        || error.is::<std::str::Utf8Error>()
        || error.is::<std::string::FromUtf8Error>()
        || error.is::<std::net::AddrParseError>()
}

/// The failure that a panic of the work is: one that may pass, unless the work panicked with a [`ProcessError`].
pub(crate) fn of_panic(payload: Box<dyn Any + Send>) -> ProcessError {
    let payload = match payload.downcast::<ProcessError>() {
        Ok(decided) => return *decided,
        Err(payload) => payload,
    };
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("its log says where");
    ProcessError::transient(format!("the processor panicked: {text}"))
}

fn is_about_data(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Unsupported)
}

/// The [`ProcessError`] that this error has inside, with the context that was added to it.
fn inside(error: &anyhow::Error) -> Option<ProcessError> {
    if let Some(own) = error.downcast_ref::<ProcessError>() {
        // `bail!` made it from the text, which begins with the code; it is the last one.
        let mut texts: Vec<_> = error.chain().map(ToString::to_string).collect();
        texts.pop();
        texts.push(own.message.clone());
        return Some(ProcessError { message: texts.join(": "), ..own.clone() });
    }
    let Carried(own) = find_cause(error)?;
    Some(ProcessError { message: with_causes(error.as_ref()), ..own.clone() })
}

/// The first of this type among an error and its causes.
pub(crate) fn find_cause<T: Error + 'static>(error: &anyhow::Error) -> Option<&T> {
    // A boxed error is no link of the chain itself, only its causes are.
    let boxed = error.downcast_ref::<Box<dyn Error + Send + Sync>>();
    let boxed = boxed.and_then(|boxed| boxed.downcast_ref());
    boxed.or_else(|| error.chain().find_map(|cause| cause.downcast_ref()))
}

/// Any error as one that can be searched. One from `anyhow` is kept: its conversion would hide what is inside.
pub(crate) fn into_anyhow<E>(error: E) -> anyhow::Error
where
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    let mut error = Some(error);
    let kept = (&mut error as &mut dyn Any).downcast_mut::<Option<anyhow::Error>>();
    match kept.and_then(Option::take) {
        Some(error) => error,
        None => anyhow::Error::from_boxed(error.expect("it was not taken").into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::processor::{context::Context, error::Retry};

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
    async fn a_panic_in_a_task_may_pass_as_its_end_does() {
        let panicked = tokio::spawn(async { panic!("as the test orders") }).await.unwrap_err();
        assert_eq!(retry(panicked), Retry::Default);
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
        let helper = || -> anyhow::Result<()> { anyhow::bail!(error()) };
        for wrapped in [
            helper().unwrap_err().context("here").context("there"),
            anyhow::Error::from(error().into_error()).context("here").context("there"),
        ] {
            let unwrapped = ProcessError::from(wrapped);
            assert_eq!((unwrapped.code.as_str(), unwrapped.retry), ("teapot", Retry::Never));
            assert_eq!(unwrapped.message, "there: here: no");
        }
        let boxed: Box<dyn Error + Send + Sync> = Box::new(error().into_error());
        assert_eq!(ProcessError::from(boxed).retry, Retry::Never);
    }

    /// An error of another crate, which has a cause.
    #[derive(Debug, thiserror::Error)]
    #[error("the rates can't be had")]
    struct Foreign(#[source] io::Error);

    #[test]
    fn any_error_is_taken_with_its_chain_of_causes() {
        fn fetch() -> Result<(), Foreign> {
            Err(Foreign(io::Error::other("the socket is closed")))
        }
        fn work() -> Result<(), ProcessError> {
            fetch()?;
            Ok(())
        }
        let error = work().unwrap_err();
        assert_eq!(error.message, "the rates can't be had: the socket is closed");
        assert_eq!((error.code.as_str(), error.retry), ("transient", Retry::Default));
        let decided = fetch().map_err(ProcessError::permanent).unwrap_err();
        assert_eq!(decided.message, error.message);
        assert_eq!(decided.retry, Retry::Never);
        let told = fetch().context("order 7").unwrap_err();
        assert_eq!(told.message, "order 7: the rates can't be had: the socket is closed");
        assert_eq!(ProcessError::from("as text").message, "as text");
    }

    #[test]
    fn a_cause_that_is_in_the_message_already_is_not_told_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("outside: {0}")]
        struct Talkative(#[source] io::Error);
        let error = ProcessError::from(Talkative(io::Error::other("inside")));
        assert_eq!(error.message, "outside: inside");
    }
}
