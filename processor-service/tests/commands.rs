//! The command processor without a broker: results, failures, and that no process is left behind.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use pipeline::contract::Timestamp;
use processor_service::{
    Job, ProcessError, Processor, RawValue, Retry,
    processors::{Command, CommandLine, Guard},
};
use testbed::{Fifo, process::WAIT_TIMEOUT};

const LIMIT: usize = 1_000_000;

fn job(data: &str) -> Job {
    let mut job = Job::new("me", RawValue::from_string(data.to_owned()).expect("it is JSON"));
    job.request_type = "video".parse().expect("a type");
    job.attempt = 3;
    job.deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    job
}

fn command(line: &str) -> Command {
    let guard = Guard::program(env!("CARGO_BIN_EXE_processor-service"));
    Command::new(guard, CommandLine::parse(line).expect("it is a command"), LIMIT)
}

/// A command that this shell script is.
fn script(text: &str) -> Command {
    command(&format!("sh -c '{}'", text.replace('\'', r"'\''")))
}

async fn run(work: Command, data: &str) -> Result<Box<RawValue>, ProcessError> {
    let ended = tokio::time::timeout(WAIT_TIMEOUT, work.process(job(data)));
    ended.await.expect("it ends in time")
}

async fn done(work: Command, data: &str) -> String {
    run(work, data).await.expect("it is done").get().to_owned()
}

async fn failed(text: &str) -> (String, String, Retry) {
    let error = run(script(text), "1").await.expect_err("it fails");
    (error.code, error.message, error.retry)
}

#[tokio::test]
async fn the_data_goes_in_and_the_result_comes_out() {
    let json = r#"{ "b":1e400,  "a":12345678901234567890.10, "a":"\u00fc" }"#;
    assert_eq!(done(command("cat"), json).await, json);
    assert_eq!(done(command("echo 'hello,  world'"), "1").await, r#""hello,  world""#);
    assert_eq!(done(command("echo 42"), "1").await, "42");
    assert_eq!(done(command("true"), "1").await, "null");
    assert_eq!(done(script("echo careful >&2; echo done"), "1").await, r#""done""#);
}

#[tokio::test]
async fn a_program_of_ones_own_guards_commands() {
    for own in ["echo", "convert"] {
        let program = Path::new(env!("CARGO_BIN_EXE_processor-service"));
        let guard = Guard::program(program.with_file_name("examples").join(own));
        let line = CommandLine::parse("cat").expect("it is a command");
        assert_eq!(done(Command::new(guard, line, LIMIT), "[1]").await, "[1]", "{own}");
    }
}

#[tokio::test]
async fn it_is_told_whose_work_it_is_and_until_when() {
    let told =
        script("echo \"$SLOWLANE_REQUEST_ID $SLOWLANE_TYPE $SLOWLANE_ATTEMPT $SLOWLANE_DEADLINE\"");
    let deadline = Timestamp::from(job("1").deadline);
    assert_eq!(done(told, "1").await, format!("\"me video 3 {deadline}\""));
}

#[tokio::test]
async fn it_may_report_its_progress_on_descriptor_3() {
    let work = script(
        r#"echo '{"progress":0.2}' >&3; echo '{"progress":7,"message":"Xylophone"}' >&3; echo junk >&3
        head -c 9999 /dev/zero | tr '\0' x >&3; echo >&3
        printf '{"progress":{"done":1,"total":2}}\n{"half' >&3; echo ok"#,
    );
    let job = job("1");
    let reporter = job.reporter.clone();
    let mut reports = Vec::new();
    let mut ended = std::pin::pin!(work.process(job));
    let result = loop {
        tokio::select! {
            biased;
            result = &mut ended => break result,
            () = tokio::task::yield_now() => {}
        }
        if let Some(report) = reporter.latest().filter(|report| reports.last() != Some(report)) {
            reports.push(report);
        }
    };
    assert_eq!(result.expect("it is done").get(), "\"ok\"");
    reports.extend(reporter.latest());
    assert_eq!(reports.last(), Some(&(Some((1, 2).into()), None)), "{reports:?}");
}

#[tokio::test]
async fn no_report_of_progress_ends_a_command() {
    let latest = async |text: &str| {
        let job = job("1");
        let reporter = job.reporter.clone();
        let ended = tokio::time::timeout(WAIT_TIMEOUT, script(text).process(job)).await;
        let result = ended.expect("it ends in time").expect("it is done");
        assert_eq!(result.get(), "\"ok\"", "{text}");
        reporter.latest()
    };
    let latin_1 = r#"printf '{"progress":1,"message":"\374"}\n'"#;
    let message = latest(&format!("{latin_1} >&3; echo ok")).await.and_then(|(_, message)| message);
    assert_eq!(message.as_deref(), Some("\u{fffd}"));
    for text in [
        // Longer than what is passed on: it is split within characters, and before what looks like a report.
        r"printf x; yes ü | head -n 9999 | tr -d '\n'; echo",
        r#"head -c 4096 /dev/zero | tr '\0' x; echo '{"progress":1,"message":"rest"}'"#,
        r"head -c 4096 /dev/zero | tr '\0' x; printf '\0\n'",
    ] {
        assert_eq!(latest(&format!("{{ {text}; }} >&3; echo ok")).await, None, "{text}");
        let further = format!(r#"{{ {text}; echo '{{"progress":0.5}}'; }} >&3; echo ok"#);
        assert_eq!(latest(&further).await, Some((Some(0.5.into()), None)), "{text}");
    }
}

#[tokio::test]
async fn exit_codes_and_signals_tell_why_it_failed() {
    let never = ("permanent".to_owned(), Retry::Never);
    let later = |retry| ("transient".to_owned(), retry);
    let after = Retry::After(Duration::from_secs(90));
    for (text, expected, message) in [
        ("echo no such customer >&2; exit 65", never, "with exit code 65: no such customer"),
        ("echo out; exit 1", later(Retry::Default), "with exit code 1"),
        (
            "echo busy >&2; echo retry-after: 90s >&2; exit 75",
            later(after),
            "busy\nretry-after: 90s",
        ),
        ("echo half >&2; kill -9 $$", later(Retry::Default), "was killed by SIGKILL (9): half"),
        ("kill $$", later(Retry::Default), "was killed by SIGTERM (15)"),
        ("kill -9 0", later(Retry::Default), "was killed with its guard"),
        ("kill -9 $PPID; sleep 1000", later(Retry::Default), "was killed with its guard"),
    ] {
        let (code, said, retry) = failed(text).await;
        assert_eq!((code, retry), expected, "{text}");
        assert!(said.ends_with(message), "{text}: {said}");
    }
}

#[tokio::test]
async fn a_command_that_is_gone_or_none_can_be_tried_later() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("work");
    std::fs::copy("/bin/sh", &path)?;
    let work = command(path.to_str().context("a path")?);
    std::fs::remove_file(&path)?;
    let error = run(work, "1").await.expect_err("it is gone");
    assert!(error.message.contains("can't be started: No such file"), "{error}");
    assert_eq!(error.retry, Retry::Default);
    Ok(())
}

#[tokio::test]
async fn a_command_need_not_read_its_data() {
    let data = format!("\"{}\"", "x".repeat(900_000));
    assert_eq!(done(command("echo ok"), &data).await, "\"ok\"");
    assert_eq!(done(script("exec <&-; sleep 0.1; echo ok"), &data).await, "\"ok\"");
    assert_eq!(done(script("head -c 10"), &data).await, "\"\\\"xxxxxxxxx\"");
    assert_eq!(done(command("wc -c"), &data).await, "900002");
    assert_eq!(done(command("cat"), &data).await, data);
}

#[tokio::test]
async fn a_command_may_write_as_it_likes() {
    for (text, code) in [
        ("yes", "result_too_large"),
        ("head -c 1G /dev/zero", "result_too_large"),
        ("trap '' TERM; while :; do yes; done", "result_too_large"),
        ("exec >&- 2>&-; cat; exit 65", "permanent"),
    ] {
        assert_eq!(failed(text).await.0, code, "{text}");
    }
    let loud = script("head -c 20M /dev/zero >&2; yes | head -c 2M >&2; echo the end >&2; exit 1");
    let error = run(loud, "1").await.expect_err("it fails");
    assert!(error.message.ends_with("y\nthe end") && error.message.len() < 2200, "{error}");
    let most = LIMIT - 2;
    let result = done(script(&format!("head -c {most} /dev/zero | tr '\\0' x")), "1").await;
    assert_eq!(result.len(), LIMIT);
}

#[tokio::test]
async fn what_a_command_sends_to_its_own_group_does_not_hit_its_guard() {
    let all = "trap '' TERM INT HUP QUIT USR1 USR2; for s in TERM INT HUP QUIT USR1 USR2; do kill -$s 0; done; echo ok";
    assert_eq!(done(script(all), "1").await, "\"ok\"");
}

#[tokio::test]
async fn many_commands_run_at_a_time() {
    let work = command("cat");
    let echoed =
        async |n: usize| assert_eq!(done(work.clone(), &n.to_string()).await, n.to_string());
    futures_util::future::join_all((0..100).map(echoed)).await;
}

/// A command with a child and a grandchild that none of them waits for; all of them ignore SIGTERM.
fn family(fifo: &Fifo) -> Command {
    let pipe = fifo.path().display();
    script(&format!(
        "trap '' TERM; exec 3>{pipe}; (sh -c 'echo grandchild >&3; sleep 1000' & echo child >&3; sleep 1000) & \
         echo ready; echo command >&3; sleep 1000"
    ))
}

#[tokio::test]
async fn a_dropped_job_kills_its_command_and_all_it_started() -> Result<()> {
    let mut fifo = Fifo::with_lines(3)?;
    let work = family(&fifo);
    tokio::select! {
        ended = work.process(job("1")) => panic!("{ended:?}"),
        lines = fifo.lines() => assert_eq!(lines?.len(), 3),
    }
    fifo.closed().await?;
    Ok(())
}

#[tokio::test]
async fn what_a_command_leaves_behind_goes_with_it() -> Result<()> {
    // One that has the command's standard error open, and one that has not.
    for output in [">/dev/null", ">/dev/null 2>&1"] {
        let mut fifo = Fifo::with_lines(1)?;
        let pipe = fifo.path().display();
        let work = script(&format!("exec 3>{pipe}; echo here >&3; sleep 1000 {output} & echo ok"));
        assert_eq!(done(work, "1").await, "\"ok\"");
        fifo.lines().await?;
        fifo.closed().await?;
    }
    Ok(())
}

#[tokio::test]
async fn output_that_is_still_being_written_after_the_exit_is_read_to_its_end() {
    let late = r#"{ sleep 1; echo '{"whole":true}'; } & exit 0"#;
    assert_eq!(done(script(late), "1").await, r#"{"whole":true}"#);
    let filtered = command(r#"bash -c 'exec > >(sleep 1; cat); printf "[1,"; printf "2]"'"#);
    assert_eq!(done(filtered, "1").await, "[1,2]");
}

#[tokio::test]
async fn output_whose_end_does_not_come_is_no_result() -> Result<()> {
    let mut fifo = Fifo::with_lines(1)?;
    let pipe = fifo.path().display();
    let text = format!("exec 3>{pipe}; echo here >&3; sleep 1000 & printf '[1,'");
    let (code, said, retry) = failed(&text).await;
    assert_eq!((code.as_str(), retry), ("transient", Retry::Default));
    assert!(said.contains("had its standard output open"), "{said}");
    fifo.lines().await?;
    fifo.closed().await?;
    Ok(())
}

#[tokio::test]
async fn a_command_is_asked_to_end_before_it_is_killed() -> Result<()> {
    let mut fifo = Fifo::with_lines(1)?;
    let pipe = fifo.path().display();
    let polite = script(&format!(
        "exec 3>{pipe}; trap 'echo bye >&3; exit 0' TERM; echo here >&3; while :; do sleep 0.05; done"
    ));
    let job = job("1");
    let stop = job.stop.clone();
    let asked = async {
        fifo.lines().await.expect("it is there");
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(polite.process(job), asked);
    ended.map_err(ProcessError::into_error)?;
    assert_eq!(fifo.closed().await?, "bye\n");
    Ok(())
}
