//! `cargo xtask dev`: from the command to the first result, edits, and the data that is kept.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use testbed::{
    Process, Signal, http,
    process::{self, Start, WAIT_TIMEOUT},
    shared_node, workspace,
};

use crate::support::wait::settles;

/// How long a stop may take: the broker's is the longest part.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);

/// A developer's folder, with the file of the work in it.
struct Desk {
    folder: TempDir,
    file: &'static str,
}

impl Desk {
    fn with(file: &'static str, text: &str) -> Result<Self> {
        let desk = Self { folder: tempfile::tempdir()?, file };
        desk.write(text)?;
        Ok(desk)
    }

    /// Saves the file as editors do: beside it, and then in its place.
    fn write(&self, text: &str) -> Result<()> {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, text)?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755))?;
        Ok(fs::rename(draft, self.folder.path().join(self.file))?)
    }

    /// Types `cargo xtask dev`. The environment has these variables beside.
    fn dev(&self, args: &[&str], env: &[(&str, &str)]) -> Result<Terminal> {
        let dev = Start::new(workspace::binary("xtask")?, self.folder.path());
        let dev = dev.args(["dev", "--data", "data"]).args(args).envs(process::minimal_env());
        let dev = dev.envs([("HTTP_ADDR", "127.0.0.1:0")]).envs(env.iter().copied());
        Ok(Terminal { process: dev.spawn()? })
    }
}

/// A terminal in which `dev` runs.
struct Terminal {
    process: Process,
}

impl Terminal {
    /// Waits for a line that has all of these texts.
    async fn shows(&self, texts: &[&str]) -> Result<String> {
        let pick =
            |line: &str| texts.iter().all(|text| line.contains(text)).then(|| line.to_owned());
        self.process.wait_for(&format!("a line with {texts:?}"), pick).await
    }

    /// The rest of the line that begins with this word.
    async fn line_of(&self, word: &str) -> Result<String> {
        let pick = |line: &str| Some(line.trim_start().strip_prefix(word)?.trim().to_owned());
        self.process.wait_for(&format!("the line of {word:?}"), pick).await
    }

    /// Posts data with the command that is shown, and gives the end of the request's id.
    async fn post(&self, data: &str) -> Result<String> {
        let curl = self.line_of("try").await?;
        ensure!(curl.contains(r#"{"data":"hello"}"#), "{curl}");
        let curl = curl.replace(r#""hello""#, data);
        let shell = Start::new("/bin/sh", "/").args(["-c", &curl]).envs(process::minimal_env());
        let lines = process::run(shell, WAIT_TIMEOUT).await?;
        let body = lines.iter().find_map(|line| serde_json::from_str::<Value>(line).ok());
        let body = body.with_context(|| format!("no id: {lines:?}"))?;
        let id = body["requestId"].as_str().context("an id")?;
        Ok(id[id.len() - 6..].to_owned())
    }

    /// Presses Ctrl-C and waits until the prompt is back.
    async fn interrupt(&self) -> Result<()> {
        self.process.signal(Signal::INT);
        let status = self.process.wait_within(STOP_TIMEOUT).await?;
        ensure!(status.success(), "{}", self.process.error(&format!("ended with {status}")));
        self.shows(&["nothing is left running"]).await.map(drop)
    }

    /// Waits for the end of a `dev` that can't run, and gives what it says.
    async fn refused(&self) -> Result<String> {
        let (status, text) = self.process.ended().await?;
        ensure!(!status.success(), "{text}");
        Ok(text)
    }
}

/// A command whose result begins with this word. It takes an hour for `"wait"`.
fn script(word: &str, wait: bool) -> String {
    let wait = if wait { "if data == 'wait': time.sleep(3600)" } else { "" };
    format!(
        "import json, sys, time\ndata = json.load(sys.stdin)\n{wait}\njson.dump(['{word}', data], sys.stdout)\n"
    )
}

#[tokio::test]
async fn from_the_command_to_the_first_result_an_edit_and_a_second_start() -> Result<()> {
    let desk = Desk::with("work.py", &script("first", true))?;
    let args = ["--command", "python3 work.py", "--watch"];
    // A stop hands back what is in work.
    let env = [("DRAIN_TIMEOUT", "0")];
    let dev = desk.dev(&args, &env)?;
    let done = dev.post(r#""hello""#).await?;
    dev.shows(&["worker", &done, "starts"]).await?;
    dev.shows(&["web", &done, r#"completed: ["first", "hello"]"#]).await?;

    let edited = dev.post(r#""wait""#).await?;
    dev.shows(&["worker", &edited, "starts"]).await?;
    desk.write(&script("second", true).replace("'wait'", "'stop'"))?;
    dev.shows(&["work.py has changed: restarting"]).await?;
    dev.shows(&[&edited, r#"completed: ["second", "wait"]"#]).await?;

    let left = dev.post(r#""stop""#).await?;
    dev.shows(&["worker", &left, "starts"]).await?;
    let (broker, api) = (dev.line_of("broker").await?, dev.line_of("api").await?);
    ensure!(broker.contains("a second web service waits until this one ends"), "{broker}");
    dev.interrupt().await?;
    for url in [&broker, &api] {
        let address = url.split(['/', '@']).find(|part| part.starts_with("127.0.0.1:"));
        let address = address.with_context(|| format!("no address in {url}"))?;
        ensure!(TcpStream::connect(address).is_err(), "somebody still listens at {address}");
    }

    desk.write(&script("third", false))?;
    let dev = desk.dev(&args, &env)?;
    dev.shows(&[&left, r#"completed: ["third", "stop"]"#]).await?;
    assert_eq!(dev.line_of("broker").await?, broker, "another terminal may know it");
    let api = dev.line_of("api").await?.replace("processData", "requests");
    let list: Value = http::builder().build()?.get(api).send().await?.json().await?;
    let items = list["items"].as_array().context("items")?;
    ensure!(items.len() == 3 && items.iter().all(|item| item["status"] == "completed"), "{list}");
    let logs = desk.folder.path().join(dev.line_of("logs").await?);
    let log = fs::read_to_string(logs.join("worker.log"))?;
    ensure!(log.contains(&done) && log.contains(&left), "no log of both starts: {log}");
    dev.interrupt().await
}

#[tokio::test]
async fn a_worker_that_dies_at_once_is_named_and_started_again() -> Result<()> {
    let desk = Desk::with("worker.sh", "#!/bin/sh\necho 'no such module'\nexit 3\n")?;
    let broker = shared_node::vhost().await.url;
    let args = ["--worker", "./worker.sh", "--watch"];
    let env = [("AMQP_URL", broker.as_str())];
    let dev = desk.dev(&args, &env)?;
    dev.shows(&["using AMQP_URL"]).await?;
    dev.shows(&["worker", "no such module"]).await?;
    dev.shows(&["ended with exit code 3", "started again in 1.0 s", "its file changes"]).await?;
    dev.shows(&["ended with exit code 3", "started again in 2.0 s"]).await?;

    desk.write("#!/bin/sh\necho 'found it'\nexec sleep 3600\n")?;
    dev.shows(&["worker.sh has changed: starting again"]).await?;
    dev.shows(&["worker", "found it"]).await?;
    desk.write("#!/bin/sh\necho 'found another'\nexec sleep 3600\n")?;
    dev.shows(&["worker.sh has changed: restarting"]).await?;
    dev.shows(&["worker", "found another"]).await?;

    let second = desk.dev(&args, &env)?.refused().await?;
    let pid = dev.process.pid();
    ensure!(second.contains(&format!("another `cargo xtask dev` (pid {pid})")), "{second}");
    dev.interrupt().await
}

#[tokio::test]
async fn a_worker_that_a_script_starts_finishes_its_work_and_ends_with_it() -> Result<()> {
    // The script itself ends at once.
    let works = "trap 'sleep 3; echo finished; exit' TERM; echo begun; while :; do sleep 0.1; done";
    let desk = Desk::with("run.sh", &format!("#!/bin/sh\nsh -c \"{works}\"\necho never\n"))?;
    let broker = shared_node::vhost().await.url;
    let dev = desk.dev(&["--worker", "./run.sh"], &[("AMQP_URL", &broker)])?;
    dev.shows(&["worker", "begun"]).await?;
    dev.interrupt().await?;
    let lines = dev.process.lines().join("\n");
    ensure!(lines.contains("finished") && !lines.contains("never"), "{lines}");
    Ok(())
}

/// A second signal would tell it to give its work back.
#[tokio::test]
async fn a_worker_whose_script_passes_signals_on_is_asked_once_to_end() -> Result<()> {
    // The two signals come one after the other: what comes at once may count once.
    let script = "#!/bin/sh
        (trap 'n=$((n+1)); echo \"asked $n.\"' TERM; echo armed
         while [ -z \"$n\" ]; do sleep 0.1; done; sleep 3; echo finished) &
        worker=$!
        trap \"sleep 1; kill -TERM $worker\" TERM
        echo begun; wait $worker; wait $worker\n";
    let desk = Desk::with("run.sh", script)?;
    let broker = shared_node::vhost().await.url;
    let dev = desk.dev(&["--worker", "./run.sh"], &[("AMQP_URL", &broker)])?;
    for part in ["armed", "begun"] {
        dev.shows(&["worker", part]).await?;
    }
    dev.interrupt().await?;
    let lines = dev.process.lines().join("\n");
    ensure!(lines.contains("asked 1.") && lines.contains("finished"), "{lines}");
    ensure!(!lines.contains("asked 2."), "{lines}");
    Ok(())
}

#[tokio::test]
async fn what_a_worker_leaves_behind_that_has_ended_is_killed() -> Result<()> {
    let desk = Desk::with("run.sh", "#!/bin/sh\nsleep 3600 &\necho \"left $!.\"\nexit 3\n")?;
    let broker = shared_node::vhost().await.url;
    let dev = desk.dev(&["--worker", "./run.sh"], &[("AMQP_URL", &broker)])?;
    let left = dev.shows(&["worker", "left "]).await?;
    let left = left.split(' ').next_back().context("a pid")?.trim_end_matches('.').to_owned();
    dev.shows(&["ended with exit code 3", "started again in 1.0 s"]).await?;
    settles("what was left behind is gone", async || {
        let status = fs::read_to_string(format!("/proc/{left}/stat")).unwrap_or_default();
        Ok(status.is_empty() || status.contains(") Z "))
    })
    .await?;
    dev.interrupt().await
}

#[tokio::test]
async fn a_worker_whose_program_is_away_for_a_moment_is_started_later() -> Result<()> {
    let desk = Desk::with("worker.sh", "#!/bin/sh\nexit 3\n")?;
    let broker = shared_node::vhost().await.url;
    let dev = desk.dev(&["--worker", "./worker.sh", "--watch"], &[("AMQP_URL", &broker)])?;
    dev.shows(&["ended with exit code 3", "started again in 1.0 s"]).await?;
    fs::remove_file(desk.folder.path().join("worker.sh"))?;
    dev.shows(&["can't be started: ", "worker.sh does not exist", "when its file changes"]).await?;
    desk.write("#!/bin/sh\necho 'found it'\nexec sleep 3600\n")?;
    dev.shows(&["worker", "found it"]).await?;
    dev.interrupt().await
}

#[tokio::test]
async fn a_failed_attempt_is_shown_with_its_reason_and_the_next_one() -> Result<()> {
    let desk = Desk::with("work.sh", "echo broken >&2; exit 1\n")?;
    let broker = shared_node::vhost().await.url;
    let env = [("AMQP_URL", broker.as_str()), ("RETRY_DELAYS", "1s"), ("MAX_ATTEMPTS", "2")];
    let dev = desk.dev(&["--command", "sh work.sh"], &env)?;
    dev.shows(&["with data that your work takes, in place of \"hello\""]).await?;
    let id = dev.post("1").await?;
    dev.shows(&["worker", &id, "| broken"]).await?;
    dev.shows(&["worker", &id, "attempt 1 failed after", "exit code 1: broken"]).await?;
    dev.shows(&["worker", &id, "is tried again in"]).await?;
    dev.shows(&["worker", &id, "attempt 2 failed after"]).await?;
    dev.shows(&["web", &id, "failed: attempts_exhausted: ", "exit code 1: broken"]).await?;
    dev.interrupt().await
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_said_with_what_to_do() -> Result<()> {
    let desk = Desk::with("work.py", "")?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let refused = async |args: &[&str], env: &[(&str, &str)]| desk.dev(args, env)?.refused().await;
    let text = refused(&[], &[("HTTP_ADDR", &address)]).await?;
    let advice = format!("{address} is in use");
    ensure!(text.contains(&advice) && text.contains("HTTP_ADDR=127.0.0.1:"), "{text}");
    let text = refused(&["--command", "python3 gone.py", "--watch"], &[]).await?;
    ensure!(text.contains("`python3 gone.py` names no file"), "{text}");
    let text = refused(&["--command", "work.py"], &[]).await?;
    ensure!(text.contains("write ./work.py"), "{text}");
    ensure!(!desk.folder.path().join("data").exists(), "nothing was started");
    Ok(())
}
