//! A thousand callers wait at one web service, half with streams, half with long polls, and all are answered.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{
    Process,
    process::{Start, minimal_env},
};
use tokio::task::JoinSet;

use crate::support::{
    database::Database,
    posting::Posting,
    requests::LOG_WAITERS,
    stack::{Stack, Web},
};

/// What the process of the callers prints at its end.
const ALL_ANSWERED: &str = "all callers are answered";
/// How many callers wait.
const WAITERS: usize = 1000;
/// How many clients post the requests.
const POSTERS: usize = 16;
/// Names the file that tells the process of the callers which URLs to call.
const WAITERS_VARIABLE: &str = "SLOWLANE_TEST_WAITERS";

/// Not a test: the process of the callers, which the tests below start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers() -> Result<()> {
    let Some(file) = std::env::var_os(WAITERS_VARIABLE) else { return Ok(()) };
    let client = testbed::http::builder().build()?;
    let mut callers = JoinSet::new();
    for (n, place) in fs::read_to_string(file)?.lines().enumerate() {
        let (url, data) = place.split_once(' ').context("an address and the data")?;
        let (client, url, expected) = (client.clone(), url.to_owned(), format!("{data}-processed"));
        callers.spawn(async move {
            let answer = match n % 2 {
                0 => stream(client.get(format!("{url}/events"))).await,
                _ => poll(client.get(&url)).await,
            };
            let answer = answer.with_context(|| url.clone())?;
            ensure!(answer["processingResults"] == expected, "{url}: {answer}");
            anyhow::Ok(())
        });
    }
    while let Some(answered) = callers.join_next().await {
        answered??;
    }
    println!("{ALL_ANSWERED}");
    Ok(())
}

/// The last event of a stream.
async fn stream(get: reqwest::RequestBuilder) -> Result<Value> {
    let text = get.send().await?.error_for_status()?.text().await?;
    let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
    Ok(serde_json::from_str(last.context("a stream that says something")?)?)
}

async fn poll(get: reqwest::RequestBuilder) -> Result<Value> {
    let answer = get.header("Prefer", "wait=60").send().await?;
    Ok(answer.error_for_status()?.json().await?)
}

/// Starts the callers, each waiting for a request of its own, and returns when all wait. The service must be started
/// with [`LOG_WAITERS`].
async fn start_callers(web: &Web, dir: &Path) -> Result<Process> {
    let bases = std::slice::from_ref(&web.base);
    let posted = Posting::start(bases, POSTERS, WAITERS).finish().await?;
    let count = posted.accepted.len();
    let places: String = posted
        .accepted
        .iter()
        .map(|(id, data)| format!("{}/api/v1/requests/{id} {data}\n", web.base))
        .collect();
    let file = dir.join("places");
    fs::write(&file, places)?;
    let before = memory(web)?;
    let process = Start::new(std::env::current_exe()?, dir)
        .args(["--exact", "--nocapture", "api::many_waiters::the_callers"])
        .envs(minimal_env())
        .envs([(WAITERS_VARIABLE, file.as_os_str())])
        .spawn()?;
    web.is_waited_at_by(count).await?;
    let each = memory(web)?.saturating_sub(before) / count as u64;
    eprintln!("{count} callers wait, and the service needs {each} KiB for each");
    Ok(process)
}

/// How much memory the service has in use, in KiB.
fn memory(web: &Web) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", web.program.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.context("VmRSS")?.trim().trim_end_matches(" kB").parse()?)
}

#[tokio::test]
async fn a_thousand_who_wait_at_once_are_all_answered() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = Web::start(stack.program("web-service").env("RUST_LOG", LOG_WAITERS)).await?;
    let dir = tempfile::tempdir()?;
    let callers = start_callers(&web, dir.path()).await?;
    let _processor = stack.processor(8, "1ms").await?;
    callers.wait_for_text(ALL_ANSWERED).await.map(drop)
}

#[tokio::test]
async fn a_thousand_are_answered_also_if_another_web_service_stores_their_results() -> Result<()> {
    let stack = Stack::fresh().await?;
    let database = Database::postgres().await;
    let telling = database.program(&stack).env("RUST_LOG", LOG_WAITERS);
    let (web, other) = tokio::try_join!(Web::start(telling), database.web(&stack))?;
    let dir = tempfile::tempdir()?;
    let callers = start_callers(&web, dir.path()).await?;
    let _processor = stack.processor(8, "1ms").await?;
    callers.wait_for_text(ALL_ANSWERED).await?;
    ensure!(!other.logged_results().is_empty(), "the other one stored none");
    Ok(())
}
