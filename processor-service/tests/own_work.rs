//! A processor of one's own, run by `run`: its worker outlives panics and failures.

use anyhow::Result;
use processor_service::{Config, Job, ProcessError, Processor, Shutdown, Source};
use serde_json::Value;
use testbed::{
    foreign::{Foreign, Properties},
    shared_node,
};

/// Does what its data tells it.
struct Obedient;

impl Processor for Obedient {
    type Input = String;
    type Output = String;

    fn process(
        &self,
        job: Job<String>,
    ) -> impl Future<Output = Result<String, ProcessError>> + Send {
        assert_ne!(job.input, "panic at once", "as ordered");
        async move {
            match job.input.as_str() {
                "panic" => panic!("as ordered"),
                "panic for good" => std::panic::panic_any(ProcessError::permanent("as ordered")),
                "fail" => Err(ProcessError::permanent("as ordered")),
                _ => Ok(job.input),
            }
        }
    }
}

async fn result_of(foreign: &Foreign, order: &str) -> Result<Value> {
    let body = format!("{{\"requestId\":1,\"requestData\":\"{order}\"}}");
    foreign.publish("processing", "request", Properties::default(), body.as_bytes()).await?;
    foreign.next("processing.results").await?.json()
}

#[tokio::test]
async fn a_worker_outlives_whatever_its_work_does() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let retries = [("RETRY_DELAYS", "0"), ("MAX_ATTEMPTS", "2")];
    let settings = [&[("AMQP_URL", vhost.url.as_str())], &retries[..]].concat();
    let config = Config::read(&Source::of(&settings))?;
    let shutdown = Shutdown::default();
    let running = tokio::spawn(processor_service::run(config, Obedient, shutdown.clone()));
    let foreign = Foreign::connect(&vhost.url).await?;
    declared(&foreign).await;
    for (order, code) in [
        ("panic at once", "attempts_exhausted"),
        ("panic", "attempts_exhausted"),
        ("panic for good", "permanent"),
        ("fail", "permanent"),
    ] {
        let result = result_of(&foreign, order).await?;
        assert_eq!(result["error"]["code"], code, "{order}: {result}");
        assert!(result["error"]["message"].to_string().contains("as ordered"), "{result}");
    }
    assert_eq!(result_of(&foreign, "echo").await?["processingResults"], "echo");
    shutdown.drain.cancel();
    running.await?
}

/// The processor declares what is missing; until then there is nothing to publish to.
async fn declared(foreign: &Foreign) {
    let consumed = async {
        loop {
            let depth = foreign.depth("processing.requests").await;
            if depth.is_ok_and(|depth| depth.consumers == 1) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(testbed::process::WAIT_TIMEOUT, consumed).await;
    in_time.expect("the processor declares and consumes its queue");
}
