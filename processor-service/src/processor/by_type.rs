//! Several processors in one program, each for a type of requests.

use std::fmt;

use futures_util::{FutureExt, future::BoxFuture};
use pipeline::topology::RequestType;
use serde_json::value::RawValue;

use crate::processor::{Processor, error::ProcessError, job::Job, raw};

/// Several processors in one program, each for the requests of a type.
///
/// It is a [`Processor`] itself, so it can be given to whatever takes one, as [`main`](crate::main). Each type has a queue and
/// workers of its own (`WORKERS` for each), so that fast work does not wait for slow work. `TYPES` says which types the
/// program serves; one of them without a processor is an error at the start, with exit code 2. So one program can run
/// in several places, with the `TYPES` that each is to serve.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use processor_service::{Job, ProcessError, Processor, Processors};
/// # use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Picture {
///     width: u32,
/// }
///
/// struct Thumbnail;
///
/// impl Processor for Thumbnail {
///     type Input = Picture;
///     type Output = u32;
///
///     async fn process(&self, job: Job<Picture>) -> Result<u32, ProcessError> {
///         Ok(job.input.width / 10)
///     }
/// }
///
/// struct Shout;
///
/// impl Processor for Shout {
///     type Input = String;
///     type Output = String;
///
///     async fn process(&self, job: Job<String>) -> Result<String, ProcessError> {
///         Ok(job.input.to_uppercase())
///     }
/// }
///
/// // Started with TYPES=thumbnail,default.
/// fn main() -> ExitCode {
///     processor_service::main(Processors::new().with("thumbnail", Thumbnail).with("default", Shout))
/// }
/// ```
#[derive(Default)]
#[must_use]
pub struct Processors(Vec<(RequestType, Box<dyn RawProcessor>)>);

impl Processors {
    /// No processors yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// These processors and one for the requests of a type.
    ///
    /// # Panics
    /// If the name is none that a type can have (1 to 40 of `a-z`, `0-9` and `-`), or the type has a processor already.
    pub fn with(mut self, request_type: &str, processor: impl Processor) -> Self {
        let request_type: RequestType = match request_type.parse() {
            Ok(request_type) => request_type,
            Err(error) => panic!("{request_type:?} is no type of requests: {error}"),
        };
        assert!(self.of(&request_type).is_none(), "{request_type} has a processor already");
        self.0.push((request_type, Box::new(processor)));
        self
    }

    fn of(&self, request_type: &RequestType) -> Option<&dyn RawProcessor> {
        let found = self.0.iter().find(|(served, _)| served == request_type);
        found.map(|(_, processor)| &**processor)
    }
}

impl Processor for Processors {
    type Input = Box<RawValue>;
    type Output = Box<RawValue>;

    async fn process(&self, job: Job) -> Result<Box<RawValue>, ProcessError> {
        match self.of(&job.request_type) {
            Some(processor) => processor.process_raw(job).await,
            // The start of the program has checked that each type has one.
            None => {
                let reason = format!("there is no processor for the type {}", job.request_type);
                Err(ProcessError::permanent(reason))
            }
        }
    }

    /// Why the jobs of a type can only wait.
    fn blocked(&self) -> Option<String> {
        self.0.iter().find_map(|(request_type, processor)| {
            Some(format!("type {request_type}: {}", processor.why_blocked()?))
        })
    }

    fn types(&self) -> Option<Vec<RequestType>> {
        Some(self.0.iter().map(|(request_type, _)| request_type.clone()).collect())
    }
}

impl fmt::Debug for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(request_type, _)| request_type)).finish()
    }
}

/// A processor with any input and output, both as JSON.
trait RawProcessor: Send + Sync {
    fn process_raw(&self, job: Job) -> BoxFuture<'_, Result<Box<RawValue>, ProcessError>>;
    fn why_blocked(&self) -> Option<String>;
}

impl<P: Processor> RawProcessor for P {
    fn process_raw(&self, job: Job) -> BoxFuture<'_, Result<Box<RawValue>, ProcessError>> {
        raw::process(self, job).boxed()
    }

    fn why_blocked(&self) -> Option<String> {
        self.blocked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::error::Retry;

    /// Adds a number to its data.
    struct Add(i64, Option<&'static str>);

    impl Processor for Add {
        type Input = i64;
        type Output = i64;

        async fn process(&self, job: Job<i64>) -> Result<i64, ProcessError> {
            Ok(job.input + self.0)
        }

        fn blocked(&self) -> Option<String> {
            self.1.map(str::to_owned)
        }
    }

    struct Shout;

    impl Processor for Shout {
        type Input = String;
        type Output = String;

        async fn process(&self, job: Job<String>) -> Result<String, ProcessError> {
            Ok(job.input.to_uppercase())
        }
    }

    fn processors() -> Processors {
        Processors::new().with("add", Add(1, Some("no numbers left"))).with("default", Shout)
    }

    async fn result(request_type: &str, data: &str) -> Result<String, ProcessError> {
        let mut job = Job::new("me", RawValue::from_string(data.to_owned()).unwrap());
        job.request_type = request_type.parse().unwrap();
        processors().process(job).await.map(|result| result.get().to_owned())
    }

    #[tokio::test]
    async fn each_type_has_its_own_input_output_and_work() {
        assert_eq!(result("add", "41").await.unwrap(), "42");
        assert_eq!(result("default", r#""a""#).await.unwrap(), r#""A""#);
        let error = result("add", r#""a""#).await.unwrap_err();
        assert!(error.message.contains("expected i64"), "{error}");
        let error = result("video", "1").await.unwrap_err();
        assert_eq!(error.retry, Retry::Never);
        assert!(error.message.contains("no processor for the type video"), "{error}");
    }

    #[test]
    fn the_reason_of_a_processor_that_is_blocked_names_its_type() {
        assert_eq!(processors().blocked().unwrap(), "type add: no numbers left");
        assert_eq!(Processors::new().with("default", Shout).blocked(), None);
    }

    #[test]
    #[should_panic(expected = "add has a processor already")]
    fn a_type_has_one_processor() {
        drop(processors().with("add", Shout));
    }

    #[test]
    #[should_panic(expected = "\"Video\" is no type of requests")]
    fn the_name_of_a_type_is_checked() {
        drop(processors().with("Video", Shout));
    }

    #[tokio::test]
    async fn digits_are_kept() {
        struct Echo;
        impl Processor for Echo {
            type Input = Box<RawValue>;
            type Output = Box<RawValue>;

            async fn process(&self, job: Job) -> Result<Box<RawValue>, ProcessError> {
                Ok(job.input)
            }
        }
        let data = r#"{"b":1e400, "a":12345678901234567890.10}"#;
        let job = Job::new("me", RawValue::from_string(data.to_owned()).unwrap());
        let result = Processors::new().with("default", Echo).process(job).await.unwrap();
        assert_eq!(result.get(), data);
    }
}
