//! Child processes: none outlives its owner, and no line of output is missed.

use std::{os::unix::process::ExitStatusExt, path::Path, time::Duration};

use anyhow::{Context, Result};
use testbed::{
    Process, Signal,
    process::{Start, minimal_env},
};
use tokio::{io::AsyncReadExt, net::unix::pipe};

/// Set in the process that plays the owner who is killed.
const OWNER_VARIABLE: &str = "TESTBED_OWNER_IN";

fn shell(script: &str, dir: &Path) -> Start {
    Start::new("/bin/sh", dir).args(["-c", script]).envs(minimal_env())
}

/// A child that holds a named pipe open as long as it lives, and so do two grandchildren: one of them is in a session of its
/// own and stopped, as a frozen PostgreSQL has some.
fn child_with_grandchild(dir: &Path) -> Result<Process> {
    let grandchildren = "sleep 1000 & setsid sh -c 'kill -s STOP $$' &";
    let script =
        format!("exec 3<>alive; echo alive >&3; {grandchildren} echo started; exec sleep 1000");
    let mut start = shell(&script, dir);
    start.remove_if_orphaned = Some(dir.join("temporary"));
    start.spawn()
}

/// Not a test of its own: what the test below runs in a process that it kills.
#[tokio::test]
async fn the_owner_who_is_killed() -> Result<()> {
    let Some(dir) = std::env::var_os(OWNER_VARIABLE) else { return Ok(()) };
    let child = child_with_grandchild(Path::new(&dir))?;
    child.wait_for_text("started").await?;
    println!("the child has started");
    child.wait().await.map(drop)
}

#[tokio::test]
async fn a_child_and_its_folder_go_when_their_owner_is_killed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    std::fs::create_dir(dir.path().join("temporary"))?;
    assert!(shell("mkfifo alive", dir.path()).spawn()?.wait().await?.success());
    let args = ["--exact", "--nocapture", "testbed_itself::guardian::the_owner_who_is_killed"];
    let start = Start::new(std::env::current_exe()?, dir.path()).args(args).envs(minimal_env());
    let owner = start.envs([(OWNER_VARIABLE, dir.path())]).spawn()?;
    owner.wait_for_text("the child has started").await?;

    let mut alive = pipe::OpenOptions::new().open_receiver(dir.path().join("alive"))?;
    let mut word = [0; 6];
    alive.read_exact(&mut word).await?;
    owner.kill();
    // The pipe ends when nobody holds it open any more.
    let end = tokio::time::timeout(Duration::from_secs(30), alive.read(&mut word)).await;
    assert_eq!(end.context("the child outlived its owner by half a minute")??, 0);
    folder_gone(&dir.path().join("temporary")).await;
    Ok(())
}

/// The guardian removes the folder after the child; nothing tells of it but the folder itself.
async fn folder_gone(folder: &Path) {
    let gone = async {
        while folder.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone)
        .await
        .expect("the folder of the child is removed");
}

#[tokio::test]
async fn a_dropped_child_is_gone_with_its_own_children() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let child = shell("sleep 1000 & echo $!; wait", dir.path()).spawn()?;
    let grandchild = child.wait_for("the grandchild's id", |line| line.parse::<u32>().ok()).await?;
    let state = || std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
    assert!(!state().is_empty());
    drop(child);
    // Init may be late in reaping: a zombie counts as gone.
    let gone = async {
        while !(state().is_empty() || state().contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("the grandchild is gone");
    Ok(())
}

#[tokio::test]
async fn lines_are_found_whether_they_came_before_or_after_the_question() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let child = shell("echo one; echo two >&2; trap 'echo three; exit 7' TERM; echo '{\"message\":\"ready\",\"n\":4}'; while :; do sleep 0.01; done", dir.path()).spawn()?;
    assert_eq!(child.wait_for_message("ready").await?["n"], 4);
    assert_eq!(child.wait_for_text("one").await?, "one");
    let (_, three) = tokio::join!(async { child.terminate() }, child.wait_for_text("three"));
    assert_eq!(three?, "three");
    assert_eq!(child.wait().await?.code(), Some(7));
    assert_eq!(child.lines()[..2], ["one", "two"]);
    Ok(())
}

#[tokio::test]
async fn a_wait_in_vain_shows_what_the_child_said() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let child = shell("echo all I ever said; kill -9 $$", dir.path()).spawn()?;
    let error =
        child.wait_for_text("something else").await.expect_err("it never says that").to_string();
    assert!(
        error.contains("ended without \"something else\"") && error.contains("all I ever said"),
        "{error}"
    );
    assert_eq!(child.wait().await?.signal(), Some(9));
    child.signal(Signal::TERM);
    Ok(())
}
