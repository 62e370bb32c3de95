//! A crowd waits for results at one web service, half of it with streams, half with long polls, and
//! everybody is answered. The crowd is a process of its own.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{
    Process,
    process::{Start, minimal_env},
};
use tokio::task::JoinSet;

use crate::support::{
    asking::TELL_WHO_WAITS,
    database::Database,
    posting::Posting,
    stack::{Stack, Web},
};

const CROWD: usize = 1000;
const POSTERS: usize = 16;
/// Names the file that tells the crowd where to ask, and for which requests.
const PLACES: &str = "SLOWLANE_TEST_CROWD";

/// Not a test of its own: what the tests below run as another process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crowd() -> Result<()> {
    let Some(file) = std::env::var_os(PLACES) else { return Ok(()) };
    let client = testbed::http::builder().build()?;
    let mut crowd = JoinSet::new();
    for (n, place) in fs::read_to_string(file)?.lines().enumerate() {
        let (url, data) = place.split_once(' ').context("an address and the data")?;
        let (client, url, expected) = (client.clone(), url.to_owned(), format!("{data}-processed"));
        crowd.spawn(async move {
            let answer = match n % 2 {
                0 => stream(client.get(format!("{url}/events"))).await,
                _ => poll(client.get(&url)).await,
            };
            let answer = answer.with_context(|| url.clone())?;
            ensure!(answer["processingResults"] == expected, "{url}: {answer}");
            anyhow::Ok(())
        });
    }
    while let Some(answered) = crowd.join_next().await {
        answered??;
    }
    println!("everybody is answered");
    Ok(())
}

/// The last thing that a stream says.
async fn stream(get: reqwest::RequestBuilder) -> Result<Value> {
    let text = get.send().await?.error_for_status()?.text().await?;
    let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
    Ok(serde_json::from_str(last.context("a stream that says something")?)?)
}

async fn poll(get: reqwest::RequestBuilder) -> Result<Value> {
    let answer = get.header("Prefer", "wait=60").send().await?;
    Ok(answer.error_for_status()?.json().await?)
}

/// Starts the crowd, each waiting for a request of its own, and waits until all do. The service must
/// tell who waits.
async fn waits(web: &Web, dir: &Path) -> Result<Process> {
    let bases = std::slice::from_ref(&web.base);
    let posted = Posting::start(bases, POSTERS, CROWD).finish().await?;
    let crowd = posted.accepted.len();
    let places: String = posted
        .accepted
        .iter()
        .map(|(id, data)| format!("{}/api/v1/requests/{id} {data}\n", web.base))
        .collect();
    let file = dir.join("places");
    fs::write(&file, places)?;
    let before = memory(web)?;
    let process = Start::new(std::env::current_exe()?, dir)
        .args(["--exact", "--nocapture", "api::many_waiters::the_crowd"])
        .envs(minimal_env())
        .envs([(PLACES, file.as_os_str())])
        .spawn()?;
    web.is_waited_at_by(crowd).await?;
    let each = memory(web)?.saturating_sub(before) / crowd as u64;
    eprintln!("crowd: {crowd} wait, and the service needs {each} KiB for each");
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
    let web = Web::start(stack.program("web-service").env("RUST_LOG", TELL_WHO_WAITS)).await?;
    let dir = tempfile::tempdir()?;
    let crowd = waits(&web, dir.path()).await?;
    let _processor = stack.processor(8, "1ms").await?;
    crowd.wait_for_text("everybody is answered").await.map(drop)
}

#[tokio::test]
async fn a_thousand_are_answered_also_if_another_web_service_stores_their_results() -> Result<()> {
    let stack = Stack::fresh().await?;
    let database = Database::postgres().await;
    let telling = database.program(&stack).env("RUST_LOG", TELL_WHO_WAITS);
    let (web, other) = tokio::try_join!(Web::start(telling), database.web(&stack))?;
    let dir = tempfile::tempdir()?;
    let crowd = waits(&web, dir.path()).await?;
    let _processor = stack.processor(8, "1ms").await?;
    crowd.wait_for_text("everybody is answered").await?;
    ensure!(!other.logged_results().is_empty(), "the other one stored none");
    Ok(())
}
