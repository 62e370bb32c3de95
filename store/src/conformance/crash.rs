//! How a service ends: closed, or killed. (A server that is killed is among the outages.)

use testbed::process::{Start, minimal_env};
use uuid::Uuid;

use super::{
    rows::{completed, new},
    world::{open, request},
};
use crate::Status;

/// Set in the process that plays the web service which is killed.
const URL: &str = "SLOWLANE_TEST_STORE_URL";
const NAME: &str = "conformance::crash::the_service_that_is_killed";

/// Not a test of its own: what the test below runs in a process that it kills.
#[tokio::test]
async fn the_service_that_is_killed() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = open(&url);
    loop {
        let id = Uuid::now_v7();
        store.accept(new(id)).await.unwrap();
        store.apply_results(vec![completed(id, "1")]).await.unwrap();
        println!("acknowledged {id}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_file_after_the_service_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("store.db").display());
    let args = ["--exact", "--nocapture", NAME];
    let start = Start::new(std::env::current_exe().unwrap(), dir.path()).args(args);
    let service = start.envs(minimal_env()).envs([(URL, url.as_str())]).spawn().unwrap();
    let mut lines = service.follow();
    let acknowledged = |line: &str| Uuid::try_parse(line.strip_prefix("acknowledged ")?).ok();
    let mut ids = Vec::new();
    while ids.len() < 100 {
        let line = lines.next().await.expect("the service goes on until it is killed");
        ids.extend(acknowledged(&line));
    }
    service.kill();
    service.wait().await.unwrap();
    while let Some(line) = lines.next().await {
        ids.extend(acknowledged(&line));
    }

    let store = open(&url);
    for id in ids {
        assert_eq!(request(&store, id).await.summary.status, Status::Completed);
    }
}

/// More than once: its connections are closed by threads of their own, in an order of their own.
#[tokio::test]
async fn a_file_that_was_closed_is_complete_without_its_log() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..50 {
        let file = dir.path().join(format!("{round}.db"));
        let store = open(&format!("sqlite:{}", file.display()));
        let id = Uuid::now_v7();
        store.accept(new(id)).await.unwrap();
        store.get(id).await.unwrap();
        store.close().await;

        let copy = dir.path().join(format!("copy-{round}.db"));
        std::fs::copy(file, &copy).unwrap();
        let store = open(&format!("sqlite:{}", copy.display()));
        assert_eq!(request(&store, id).await.summary.status, Status::Queued);
    }
}
