//! The command processor end to end: results, failures, and no command that outlives its worker.

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::try_join_all;
use pipeline::log_messages;
use serde_json::{Value, json};
use testbed::{
    Fifo, Program,
    process::{WAIT_TIMEOUT, json_message},
    program::Running,
    workspace,
};

use crate::support::{
    documents,
    stack::{Stack, Web},
    wait::settles,
};

/// A processor that starts this command for each request.
fn processor(stack: &Stack, command: &str) -> Program {
    let program = stack.program("processor-service").env("PROCESSOR", "command");
    program.env("PROCESSOR_COMMAND", command).env("MAX_ATTEMPTS", "1")
}

/// A processor that starts this shell script for each request.
fn script(stack: &Stack, text: &str) -> Program {
    processor(stack, &format!("sh -c '{}'", text.replace('\'', r"'\''")))
}

async fn with_workers(stack: &Stack, workers: usize, program: Program) -> Result<(Web, Running)> {
    tokio::try_join!(stack.web(), stack.start_processor(program, workers, "1h"))
}

/// What a request ends as.
async fn end_of(web: &Web, data: Value) -> Result<Value> {
    let id = web.accepted(data).await?;
    web.ended(&id).await
}

/// Another processor gets the request and completes it.
async fn an_heir_completes(stack: &Stack, web: &Web, id: &str) -> Result<()> {
    let _heir = stack.start_processor(processor(stack, "echo done"), 1, "1h").await?;
    assert_eq!(web.ended(id).await?["processingResults"], "done");
    Ok(())
}

/// A script with a child and a grandchild, none of which ends by itself or heeds SIGTERM. Each writes a line.
fn family(fifo: &Fifo) -> String {
    let pipe = fifo.path().display();
    format!(
        "trap \"\" TERM; exec 3>{pipe}; (sh -c \"echo 1 >&3; sleep 1000\" & echo 2 >&3; sleep 1000) & \
         echo 3 >&3; sleep 1000"
    )
}

#[tokio::test]
async fn a_command_does_the_work() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, processor) = with_workers(&stack, 1, script(&stack, "echo looking >&2; cat")).await?;
    let data = json!({"b": 1, "a": [null, "ü"]});
    let ended = end_of(&web, data.clone()).await?;
    assert_eq!((&ended["status"], &ended["processingResults"]), (&json!("completed"), &data));
    let said = processor.wait_for_message(log_messages::COMMAND_STDERR).await?;
    assert_eq!((&said["stderr"], &said["requestId"]), (&json!("looking"), &ended["requestId"]));
    Ok(())
}

#[tokio::test]
async fn a_command_that_fails_says_why() -> Result<()> {
    let stack = Stack::fresh().await?;
    let text = "read -r n; echo \"as told: $n\" >&2; exit $n";
    let (web, _processor) = with_workers(&stack, 1, script(&stack, text)).await?;
    for (code, reason) in [(65, "permanent"), (75, "attempts_exhausted"), (1, "attempts_exhausted")]
    {
        let ended = end_of(&web, code.into()).await?;
        assert_eq!(ended["status"], "failed");
        assert_eq!(ended["error"]["code"], reason, "{ended}");
        let message = format!("exit code {code}: as told: {code}");
        assert!(ended["error"]["message"].to_string().contains(&message), "{ended}");
    }
    Ok(())
}

#[tokio::test]
async fn the_last_line_of_a_command_that_says_much_is_part_of_its_error() -> Result<()> {
    let stack = Stack::fresh().await?;
    let text = "seq 1 2000 >&2; echo \"ValueError: the reason\" >&2; exit 65";
    let (web, _processor) = with_workers(&stack, 1, script(&stack, text)).await?;
    let ended = end_of(&web, 1.into()).await?;
    let message = ended["error"]["message"].as_str().context("a message")?;
    assert!(message.starts_with("the command ended with exit code 65: "), "{message}");
    assert!(message.ends_with("ValueError: the reason"), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_result_that_is_too_large_ends_the_command_and_the_request() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = with_workers(&stack, 1, processor(&stack, "yes")).await?;
    let ended = end_of(&web, 1.into()).await?;
    assert_eq!(ended["error"]["code"], "result_too_large", "{ended}");
    Ok(())
}

#[tokio::test]
async fn a_command_sees_no_secrets() -> Result<()> {
    let stack = Stack::fresh().await?;
    let program = processor(&stack, "env")
        .env("CLOUDAMQP_URL", "amqp://me:s3cret@127.0.0.1")
        .env("DATABASE_URL", "postgres://me:s3cret@127.0.0.1")
        .env("WEBHOOK_SECRET", "s3cret")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret")
        .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=s3cret")
        .env("MINE", "not secret");
    let (web, _processor) = with_workers(&stack, 1, program).await?;
    let ended = end_of(&web, 1.into()).await?;
    let environment = ended["processingResults"].as_str().context("a text")?;
    let names: Vec<_> =
        environment.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    for name in [
        "PATH",
        "MINE",
        "WORKERS",
        "SLOWLANE_REQUEST_ID",
        "SLOWLANE_TYPE",
        "SLOWLANE_ATTEMPT",
        "SLOWLANE_DEADLINE",
    ] {
        assert!(names.contains(&name), "no {name} in {environment}");
    }
    assert!(!environment.contains("s3cret") && !environment.contains(&stack.url), "{environment}");
    assert!(environment.contains(ended["requestId"].as_str().context("an id")?));
    Ok(())
}

#[tokio::test]
async fn a_command_that_reads_nothing_gets_much_data() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = with_workers(&stack, 1, processor(&stack, "echo done")).await?;
    let ended = end_of(&web, "x".repeat(900_000).into()).await?;
    assert_eq!(ended["processingResults"], "done");
    Ok(())
}

/// The files of all of them are more than the soft limit allows.
#[tokio::test]
async fn many_commands_run_at_once_with_the_soft_limit_that_their_processor_was_started_with()
-> Result<()> {
    const COMMANDS: usize = 30;
    let stack = Stack::fresh().await?;
    let mut fifo = Fifo::with_lines(COMMANDS)?;
    let pipe = fifo.path().display();
    let text =
        format!("exec 4>{pipe}; echo here >&4; until [ -e go ]; do sleep 0.1; done; ulimit -n");
    let (web, processor) = with_workers(&stack, COMMANDS, limited(&stack, 64, &text)?).await?;
    let ids = try_join_all((0..COMMANDS).map(|n| web.accepted(n.into()))).await?;
    fifo.lines().await?;
    fs::write(processor.dir().join("go"), "")?;
    for id in &ids {
        assert_eq!(web.ended(id).await?["processingResults"], 64);
    }
    Ok(())
}

/// A processor with this soft limit of open files, which starts this shell script for each request.
fn limited(stack: &Stack, files: u64, text: &str) -> Result<Program> {
    let program = workspace::binary("processor-service")?;
    let line = format!("ulimit -Sn {files}; exec '{}'", program.display());
    let program = Program::at("/bin/sh").arg("-c").arg(line).env("AMQP_URL", &stack.url);
    let program = program.env("LOG_FORMAT", "json").env("PROCESSOR", "command");
    Ok(program.env("PROCESSOR_COMMAND", format!("sh -c '{text}'")))
}

#[tokio::test]
async fn short_commands_follow_each_other_and_leave_no_process() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, processor) = with_workers(&stack, 4, processor(&stack, "cat")).await?;
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push(web.accepted(n.into()).await?);
    }
    web.results(ids.clone()).await?;
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(web.ended(id).await?["processingResults"], n);
    }
    childless(&processor).await
}

/// Looks again and again until a program has no children, and no zombies.
async fn childless(program: &Running) -> Result<()> {
    settles("no children", async || Ok(children(program)?.is_empty())).await
}

/// The children of a program, zombies among them.
fn children(program: &Running) -> Result<String> {
    let mut children = String::new();
    for thread in fs::read_dir(format!("/proc/{}/task", program.pid()))? {
        children += &fs::read_to_string(thread?.path().join("children"))?;
    }
    Ok(children)
}

#[tokio::test]
async fn a_command_whose_time_is_over_is_killed_with_all_it_started() -> Result<()> {
    let stack = Stack::fresh().await?;
    let mut fifo = Fifo::with_lines(3)?;
    let program = script(&stack, &family(&fifo)).env("JOB_TIMEOUT", "3s");
    let (web, processor) = with_workers(&stack, 1, program).await?;
    let ended = end_of(&web, 1.into()).await?;
    assert_eq!(ended["error"]["code"], "timeout", "{ended}");
    assert!(ended["error"]["message"].to_string().contains("3s (JOB_TIMEOUT)"), "{ended}");
    fifo.lines().await?;
    fifo.closed().await?;
    childless(&processor).await?;
    ensure!(processor.exit_status().is_none(), "the processor goes on");
    Ok(())
}

#[tokio::test]
async fn no_command_outlives_a_worker_that_is_killed() -> Result<()> {
    let stack = Stack::fresh().await?;
    let mut fifo = Fifo::with_lines(3)?;
    let (web, processor) = with_workers(&stack, 1, script(&stack, &family(&fifo))).await?;
    let id = web.accepted(1.into()).await?;
    fifo.lines().await?;
    processor.kill();
    fifo.closed().await?;
    an_heir_completes(&stack, &web, &id).await
}

#[tokio::test]
async fn no_command_outlives_a_worker_that_stops() -> Result<()> {
    let stack = Stack::fresh().await?;
    let mut fifo = Fifo::with_lines(3)?;
    let program = script(&stack, &family(&fifo)).env("DRAIN_TIMEOUT", "100ms");
    let (web, processor) = with_workers(&stack, 1, program).await?;
    let id = web.accepted(1.into()).await?;
    fifo.lines().await?;
    processor.terminate();
    let status = processor.wait_within(WAIT_TIMEOUT).await?;
    ensure!(status.success(), "{}", processor.error("did not stop cleanly"));
    ensure!(
        processor
            .lines()
            .iter()
            .any(|line| json_message(line, log_messages::HANDED_BACK).is_some()),
        "it goes back"
    );
    fifo.closed().await?;
    an_heir_completes(&stack, &web, &id).await
}

#[tokio::test]
async fn a_command_may_finish_while_its_worker_stops() -> Result<()> {
    let stack = Stack::fresh().await?;
    let mut fifo = Fifo::with_lines(1)?;
    let pipe = fifo.path().display();
    let text = format!("echo here >{pipe}; while [ ! -e go ]; do sleep 0.05; done; echo done");
    let (web, processor) = with_workers(&stack, 1, script(&stack, &text)).await?;
    let id = web.accepted(1.into()).await?;
    fifo.lines().await?;
    processor.terminate();
    processor.wait_for_message(log_messages::STOPPING).await?;
    // It runs where its processor runs.
    fs::write(processor.dir().join("go"), "")?;
    ensure!(processor.wait_within(Duration::from_secs(25)).await?.success(), "it stops cleanly");
    assert_eq!(web.ended(&id).await?["processingResults"], "done");
    Ok(())
}

#[tokio::test]
async fn what_a_command_gives_when_all_its_service_is_signalled_is_not_its_result() -> Result<()> {
    for last_words in ["echo half; exit 0", "exit 1", "exit 65", "kill -9 $$", "exit 143"] {
        let stack = Stack::fresh().await?;
        let mut fifo = Fifo::with_lines(1)?;
        let pipe = fifo.path().display();
        let text =
            format!("trap \"{last_words}\" TERM; echo $PPID >{pipe}; while :; do sleep 0.05; done");
        let (web, processor) = with_workers(&stack, 1, script(&stack, &text)).await?;
        let id = web.accepted(1.into()).await?;
        let group: i32 = fifo.lines().await?[0].parse()?;
        // As a service manager does: each process of the service, in any order.
        let group = rustix::process::Pid::from_raw(group).context("the guard")?;
        rustix::process::kill_process_group(group, testbed::Signal::TERM)?;
        processor.terminate();
        ensure!(processor.wait_within(Duration::from_secs(20)).await?.success(), "{last_words}");
        let handed_back = |line: &String| json_message(line, log_messages::HANDED_BACK).is_some();
        ensure!(processor.lines().iter().any(handed_back), "{}", processor.error(last_words));
        // There is only one attempt.
        an_heir_completes(&stack, &web, &id).await?;
        assert_eq!(web.request(&id).await?["attempts"], 1, "{last_words}");
    }
    Ok(())
}

/// Retried, it would fail in the same way again, for minutes.
#[tokio::test]
async fn the_example_of_the_documents_ends_with_any_json_at_once() -> Result<()> {
    let stack = Stack::fresh().await?;
    let blocks = documents::blocks("docs/processors.md", "python")?;
    let [example, _of_the_pool] = &blocks[..] else { bail!("{} examples", blocks.len()) };
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("work.py");
    fs::write(&path, example)?;
    let command = format!("python3 {}", path.display());
    let (web, _processor) = with_workers(&stack, 2, processor(&stack, &command)).await?;
    let big = format!("{{\"invoice\":{}}}", "9".repeat(5000));
    for (data, paid) in [
        (r#"{"invoice":17}"#, Some("17")),
        (r#"{"invoice":null}"#, Some("null")),
        (r#"{"invoice":"\u00fc \ud83d\ude00"}"#, Some(r#""ü 😀""#)),
        (r#"{"invoice":{"a":[1.5,{}]}}"#, Some(r#"{"a":[1.5,{}]}"#)),
        (r#"{"invoice":123456789012345678901234567890}"#, Some("123456789012345678901234567890")),
        (r#"{"invoice":1e999}"#, None),
        (&big, None),
        ("{}", None),
        ("[]", None),
        (r#"["invoice"]"#, None),
        (r#""invoice""#, None),
        (r#""ü""#, None),
        (r#""""#, None),
        ("null", None),
        ("true", None),
        ("17", None),
        ("-1e999", None),
    ] {
        let id = web.accepted_json(data).await?;
        let end = web.ended(&id).await?;
        let data = &data[..data.len().min(60)];
        match paid {
            Some(paid) => {
                let paid: Value = serde_json::from_str(&format!("{{\"paid\":{paid}}}"))?;
                assert_eq!(end["processingResults"], paid, "{data}: {end}");
            }
            None => assert_eq!(end["error"]["code"], "permanent", "{data}: {end}"),
        }
    }
    Ok(())
}
