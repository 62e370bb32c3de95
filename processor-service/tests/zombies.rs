//! The processor as the parent of what commands leave behind: the first process of a container, or a subreaper.

use std::{fs, os::unix::process::CommandExt, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::{CONSUMING, FINISHED};
use testbed::{
    foreign::{Foreign, Properties},
    process::{Process, Start, WAIT_TIMEOUT},
    shared_node,
};

const JOBS: usize = 20;

/// Leaves a process behind that has left the command's group, and one that has not, and goes without them.
const COMMAND: &str =
    r#"sh -c "setsid -f sleep 0.1 >/dev/null 2>&1; sleep 1000 >/dev/null 2>&1 & echo ok""#;

#[tokio::test]
async fn a_subreaper_leaves_no_zombies() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let program = Start::new(std::env::current_exe()?, std::env::temp_dir());
    let program = program.args(["--exact", "a_subreaper", "--nocapture", &vhost.url]);
    let program = program.envs(testbed::process::minimal_env()).spawn()?;
    let foreign = Foreign::connect(&vhost.url).await?;
    program.wait_for_message(CONSUMING).await?;
    for n in 0..JOBS {
        let body = format!("{{\"requestId\":{n},\"requestData\":1}}");
        foreign.publish("processing", "request", Properties::default(), body.as_bytes()).await?;
    }
    let mut results = foreign.consume("processing.results", 1000).await?;
    for _ in 0..JOBS {
        assert_eq!(results.next().await?.json()?["processingResults"], "ok");
    }
    let finished = program.lines().iter().filter(|line| line.contains(FINISHED)).count();
    ensure!(finished > 0, "{}", program.error("finished nothing"));
    no_zombies(&program).await
}

/// Waits until the program has no child that has ended and was not waited for.
async fn no_zombies(program: &Process) -> Result<()> {
    let limit = std::time::Instant::now() + WAIT_TIMEOUT;
    loop {
        let zombies = zombies_of(program.pid())?;
        if zombies == 0 {
            return Ok(());
        }
        ensure!(std::time::Instant::now() < limit, "{zombies} zombies that stay");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn zombies_of(parent: u32) -> Result<usize> {
    let mut zombies = 0;
    for process in fs::read_dir("/proc")? {
        // Processes come and go meanwhile.
        let Ok(stat) = fs::read_to_string(process?.path().join("stat")) else { continue };
        let (_, fields) = stat.rsplit_once(')').context("no name")?;
        zombies += usize::from(fields.starts_with(&format!(" Z {parent} ")));
    }
    Ok(zombies)
}

/// What the test above starts: becomes a subreaper, then the processor. Without the URL of a broker it does nothing.
#[test]
fn a_subreaper() -> Result<()> {
    let Some(url) = std::env::args().find(|argument| argument.starts_with("amqp://")) else {
        return Ok(());
    };
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let error = Command::new(Path::new(env!("CARGO_BIN_EXE_processor-service")))
        .envs([
            ("AMQP_URL", url.as_str()),
            ("PROCESSOR", "command"),
            ("PROCESSOR_COMMAND", COMMAND),
        ])
        .envs([("WORKERS", "4"), ("RETRY_DELAYS", "1s"), ("LOG_FORMAT", "json")])
        .exec();
    Err(error.into())
}
