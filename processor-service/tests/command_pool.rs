//! The command pool without a broker: children that stay, and how each kind of failure replaces them.

use std::time::Duration;

use anyhow::{Context, Result};
use processor_service::{
    CancellationToken, Job, ProcessError, Processor, RawValue, Retry,
    processors::{Command, CommandLine, CommandPool, Guard},
};
use testbed::{Fifo, process::WAIT_TIMEOUT};

const LIMIT: usize = 1_000_000;

fn job(data: &str) -> Job {
    Job::new("me", RawValue::from_string(data.to_owned()).expect("it is JSON"))
}

/// Children that run this shell script for each line, which is in `$line`. They answer with the process's id and the number
/// of the job, or with `$result`.
fn pool(text: &str) -> CommandPool {
    shell(&format!(
        r#"while read -r line; do n=$((n+1)); result=[$$,$n]; {text}
        echo "{{\"id\":\"me\",\"result\":$result}}"; done"#
    ))
}

fn shell(script: &str) -> CommandPool {
    let line = format!("sh -c '{}'", script.replace('\'', r"'\''"));
    let guard = Guard::program(env!("CARGO_BIN_EXE_processor-service"));
    CommandPool::new(guard, CommandLine::parse(&line).expect("it is a command"), LIMIT)
}

async fn run(pool: &CommandPool, data: &str) -> Result<String, ProcessError> {
    let ended = tokio::time::timeout(WAIT_TIMEOUT, pool.process(job(data)));
    ended.await.expect("it ends in time").map(|result| result.get().to_owned())
}

async fn done(pool: &CommandPool, data: &str) -> String {
    run(pool, data).await.expect("it is done")
}

/// The id of the process that does the next job, and the job's number there.
async fn who(pool: &CommandPool) -> (u32, u32) {
    serde_json::from_str(&done(pool, "0").await).expect("it is a process and a number")
}

async fn failed(pool: &CommandPool, data: &str) -> (String, String, Retry) {
    let error = run(pool, data).await.expect_err("it fails");
    (error.code, error.message, error.retry)
}

#[tokio::test]
async fn a_child_does_one_job_after_the_other() {
    let pool = pool("");
    let (first, one) = who(&pool).await;
    assert_eq!((one, who(&pool).await, who(&pool).await), (1, (first, 2), (first, 3)));
}

#[tokio::test]
async fn jobs_at_the_same_time_have_children_of_their_own() {
    let pool = pool("sleep 0.2");
    let jobs = futures_util::future::join_all((0..5).map(|_| who(&pool))).await;
    let mut children: Vec<_> = jobs.iter().map(|(child, _)| *child).collect();
    children.sort_unstable();
    children.dedup();
    assert_eq!(children.len(), 5, "{jobs:?}");
    assert!(jobs.iter().all(|(_, number)| *number == 1), "{jobs:?}");
}

#[tokio::test]
async fn the_data_goes_in_and_the_result_comes_out_untouched() {
    let echo = pool(r#"result=${line#*\"data\":}; result=${result%\}}"#);
    let json = r#"{ "b":1e400,  "a":12345678901234567890.10, "a":"\u00fc" }"#;
    // The shell's echo would take a backslash for its own.
    let json = json.replace("\\u00fc", "ü");
    for data in [json.as_str(), "null", "[]"] {
        assert_eq!(done(&echo, data).await, data);
    }
    assert_eq!(done(&echo, "[\n 1,\r\n 2\n]").await, "[  1,   2 ]", "an order is one line");
    let order = pool(r#"result=${line%%,\"deadline*}; result="$result}""#);
    assert_eq!(done(&order, "1").await, r#"{"id":"me","type":"default","attempt":1}"#);
}

#[tokio::test]
async fn a_failure_that_is_told_leaves_the_child_as_it_is() {
    for (fields, code, retry) in [
        ("", "permanent", Retry::Never),
        (r#","retry":true"#, "transient", Retry::Default),
        (r#","retry":"90s","code":"busy""#, "busy", Retry::After(Duration::from_secs(90))),
    ] {
        let line = format!(r#"{{"id":"me","error":{{"message":"no"{fields}}}}}"#);
        let pool = pool(&format!("case $line in *:1}}) echo '{line}'; continue;; esac"));
        let (first, _) = who(&pool).await;
        assert_eq!(failed(&pool, "1").await, (code.to_owned(), "no".to_owned(), retry));
        assert_eq!(who(&pool).await, (first, 3));
    }
}

#[tokio::test]
async fn a_child_that_fails_is_replaced_and_its_job_judged_like_a_command() {
    let later = Retry::Default;
    for (text, code, retry, message) in [
        ("echo oops >&2; exit 1", "transient", later, "exit code 1: oops"),
        ("echo bad >&2; exit 65", "permanent", Retry::Never, "exit code 65: bad"),
        ("exit 0", "transient", later, "exit code 0 and without an answer"),
        ("kill -9 $$", "transient", later, "killed by SIGKILL (9)"),
        ("kill -9 $PPID; sleep 1000", "transient", later, "killed with its guard"),
        ("exec >&-; sleep 1000", "transient", later, "closed its standard output"),
        (
            "echo loading",
            "transient",
            later,
            "no answer: expected value at line 1 column 1: loading",
        ),
        (r#"echo '{"id":"you","result":1}'"#, "transient", later, "answers another request"),
        (r"yes | tr -d '\n'", "result_too_large", Retry::Never, "(RESULT_LIMIT)"),
    ] {
        let pool = pool(&format!("case $line in *:1}}) {text};; esac"));
        let (first, _) = who(&pool).await;
        let (failed, said, when) = failed(&pool, "1").await;
        assert_eq!((failed.as_str(), when), (code, retry), "{text}: {said}");
        assert!(said.contains(message), "{text}: {said}");
        let (next, number) = who(&pool).await;
        assert!(next != first && number == 1, "{text}: {next} {number}");
    }
}

#[tokio::test]
async fn a_command_that_is_gone_costs_no_attempt() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let script = dir.path().join("work.sh");
    std::fs::write(&script, "read -r line; exit 2")?;
    let guard = Guard::program(env!("CARGO_BIN_EXE_processor-service"));
    let line = CommandLine::parse(&format!("sh {}", script.display()))?;
    let pool = CommandPool::new(guard, line, LIMIT);
    assert_eq!(failed(&pool, "1").await.1, "the command ended with exit code 2");
    std::fs::remove_file(&script)?;
    let (_, message, _) = failed(&pool, "1").await;
    assert_eq!(message, format!("the command can't be started: {} is missing", script.display()));
    Ok(())
}

/// A guard that may open so few files that it can't prepare for its command.
fn poor_guard(dir: &std::path::Path) -> Result<Guard> {
    let path = dir.join("guard.sh");
    // Written by another process: this one would hand the open file to what other tests start meanwhile.
    let write = r#"printf '#!/bin/sh\nulimit -n 5\nexec %s "$@"\n' "$1" >"$2" && chmod +x "$2""#;
    let mut shell = std::process::Command::new("sh");
    let shell = shell.args(["-c", write, "sh", env!("CARGO_BIN_EXE_processor-service")]);
    anyhow::ensure!(shell.arg(&path).status()?.success(), "the guard is not written");
    Ok(Guard::program(path))
}

#[tokio::test]
async fn a_guard_that_can_not_prepare_for_its_command_costs_no_attempt() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (guard, line) = (poor_guard(dir.path())?, CommandLine::parse("cat")?);
    let reason = "the command can't be started: Too many open files (os error 24)";
    let pool = CommandPool::new(guard.clone(), line.clone(), LIMIT);
    let much = format!("\"{}\"", "x".repeat(LIMIT));
    for data in ["1", &much] {
        assert_eq!(failed(&pool, data).await.1, reason);
        let command = Command::new(guard.clone(), line.clone(), LIMIT);
        let error = command.process(job(data)).await.expect_err("it does not start");
        assert_eq!(error.message, reason);
    }
    Ok(())
}

#[tokio::test]
async fn a_child_that_is_signalled_with_its_processor_gives_its_job_back() -> Result<()> {
    for end in ["exit 0", "exit 65", r#"echo "{\"id\":\"me\",\"result\":$result}"; exit 0"#] {
        let mut fifo = Fifo::with_lines(1)?;
        let pipe = fifo.path().display();
        let stopping = CancellationToken::new();
        let pool = pool(&format!(
            "trap '{end}' TERM; exec 4>{pipe}; echo $PPID >&4; while :; do sleep 0.05; done"
        ));
        let pool = pool.with_stop(stopping.clone());
        let signalled = async {
            let group: i32 = fifo.lines().await?[0].parse()?;
            let group = rustix::process::Pid::from_raw(group).context("the guard")?;
            rustix::process::kill_process_group(group, testbed::Signal::TERM)?;
            stopping.cancel();
            anyhow::Ok(())
        };
        let (ended, signalled) = tokio::join!(run(&pool, "1"), signalled);
        signalled?;
        let error = ended.expect_err("it goes back");
        assert_eq!(error.message, "the program stops", "{end}");
    }
    Ok(())
}

#[tokio::test]
async fn progress_is_no_signal_to_a_child_while_its_processor_stops() -> Result<()> {
    let mut fifo = Fifo::with_lines(1)?;
    let pipe = fifo.path().display().to_string();
    let stopping = CancellationToken::new();
    // The guard may pass a report on only after the answer was read.
    let pool = shell(&format!(
        r#"read -r line; exec 4>{pipe}; echo here >&4; while [ ! -e {pipe}.go ]; do sleep 0.05; done
        echo '{{"id":"me","result":1}}'; echo '{{"progress":0.5}}' >&3; read -r line"#
    ));
    let pool = pool.with_stop(stopping.clone());
    let stopped = async {
        fifo.lines().await?;
        stopping.cancel();
        anyhow::Ok(std::fs::write(format!("{pipe}.go"), "")?)
    };
    let (ended, stopped) = tokio::join!(run(&pool, "1"), stopped);
    stopped?;
    assert_eq!(ended.expect("it is done"), "1");
    Ok(())
}

#[tokio::test]
async fn an_answer_too_many_is_not_that_of_the_next_job() {
    // One write, so that both lines are there when the first one is read.
    let both =
        r#"printf '{"id":"me","result":[%d,0]}\n{"id":"me","result":[%d,1]}\n' $$ $$; continue"#;
    let pool = pool(both);
    for _ in 0..3 {
        assert_eq!(who(&pool).await.1, 0, "the second line is nobody's");
    }
}

#[tokio::test]
async fn a_child_that_ended_while_it_had_no_job_fails_none() -> Result<()> {
    let (mut fifo, dir) = (Fifo::with_lines(1)?, tempfile::tempdir()?);
    let (pipe, ended) = (fifo.path().display(), dir.path().join("ended"));
    let ended = ended.display();
    let ends = pool(&format!(
        "[ -e {ended} ] || {{ touch {ended}; exec 4>{pipe}; echo here >&4; (sleep 0.1; kill -9 $$) & }}"
    ));
    let (first, _) = who(&ends).await;
    fifo.lines().await?;
    while ends.idle_children() > 0 {
        tokio::task::yield_now().await;
    }
    assert_ne!(who(&ends).await.0, first);
    Ok(())
}

#[tokio::test]
async fn a_child_that_ends_by_itself_when_a_job_comes_fails_it_only_if_it_is_new() {
    // Each child takes a second job, and ends without an answer to it, as one does that is ending when it comes.
    let ends = pool("[ $n = 2 ] && exit 0");
    let (first, _) = who(&ends).await;
    let (second, number) = who(&ends).await;
    assert!(first != second && number == 1, "{first} {second} {number}");
    let never_answers = pool("exit 0");
    for _ in 0..2 {
        let (code, message, _) = failed(&never_answers, "0").await;
        assert!(code == "transient" && message.contains("exit code 0 and without"), "{message}");
    }
}

/// A pool of children that do this when their input has ended.
fn ending_with(text: &str) -> CommandPool {
    shell(&format!(
        r#"while read -r line; do echo "{{\"id\":\"me\",\"result\":[$$,1]}}"; done
        {text}"#
    ))
}

#[tokio::test]
async fn a_child_is_replaced_after_its_jobs_and_may_end_by_itself() -> Result<()> {
    let mut fifo = Fifo::with_lines(1)?;
    let pipe = fifo.path().display();
    let pool = ending_with(&format!("echo bye >{pipe}")).with_max_jobs(Some(2));
    let [one, two] = [who(&pool).await.0, who(&pool).await.0];
    assert_eq!(one, two);
    assert_eq!(fifo.lines().await?, ["bye"]);
    assert_ne!(who(&pool).await.0, one);
    Ok(())
}

#[tokio::test]
async fn a_child_that_is_replaced_may_report_and_write_much_before_it_ends() -> Result<()> {
    let mut fifo = Fifo::with_lines(1)?;
    let pipe = fifo.path().display();
    let pool = ending_with(&format!(
        r#"echo '{{"progress":1}}' >&3; sleep 0.1
        head -c 100000 /dev/zero; head -c 100000 /dev/zero >&2; echo bye >{pipe}"#
    ));
    let pool = pool.with_max_jobs(Some(1));
    who(&pool).await;
    assert_eq!(fifo.lines().await?, ["bye"]);
    Ok(())
}

#[tokio::test]
async fn what_a_child_complains_of_between_its_jobs_is_not_the_next_ones() -> Result<()> {
    let mut fifo = Fifo::with_lines(1)?;
    let pipe = fifo.path().display();
    // What it writes to the pipe of the test comes after its complaint.
    let pool = pool(&format!(
        r#"case $line in *:1}}) echo "{{\"id\":\"me\",\"result\":1}}"; sleep 0.2; echo late >&2; echo here >{pipe}; continue;;
        *:2}}) echo mine >&2; exit 1;; esac"#
    ));
    assert_eq!(done(&pool, "1").await, "1");
    fifo.lines().await?;
    assert_eq!(failed(&pool, "2").await.1, "the command ended with exit code 1: mine");
    Ok(())
}

#[tokio::test]
async fn much_data_and_output_that_is_not_utf_8_pass() {
    let echo = shell(
        r#"while read -r line; do
        printf '{"id":"me","result":'; printf '%s' "${line#*\"data\":}" | head -c -1; echo '}'; done"#,
    );
    let much = format!("\"{}\"", "x".repeat(LIMIT - 2));
    assert!(done(&echo, &much).await == much, "it came back otherwise");
    let bytes = pool(r#"printf '{"id":"me","result":"a\377b"}\n'; continue"#);
    assert_eq!(done(&bytes, "1").await, "\"a\u{fffd}b\"");
}

#[tokio::test]
async fn a_job_that_is_dropped_kills_its_child_and_all_it_started() -> Result<()> {
    let mut fifo = Fifo::with_lines(2)?;
    let pipe = fifo.path().display();
    let pool = pool(&format!(
        "case $line in *:1}}) trap '' TERM; exec 4>{pipe}; (echo 1 >&4; sleep 1000) & echo 2 >&4; sleep 1000;; esac"
    ));
    let (first, _) = who(&pool).await;
    tokio::select! {
        ended = pool.process(job("1")) => panic!("{ended:?}"),
        lines = fifo.lines() => assert_eq!(lines?.len(), 2),
    }
    fifo.closed().await?;
    assert_ne!(who(&pool).await.0, first);
    Ok(())
}

#[tokio::test]
async fn a_child_is_asked_to_end_before_it_is_killed() -> Result<()> {
    let mut fifo = Fifo::with_lines(1)?;
    let pipe = fifo.path().display();
    let pool = pool(&format!(
        "exec 4>{pipe}; trap 'echo bye >&4; exit 0' TERM; echo here >&4; while :; do sleep 0.05; done"
    ));
    let job = job("1");
    let stop = job.stop.clone();
    let asked = async {
        fifo.lines().await.expect("it is there");
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(pool.process(job), asked);
    assert!(ended.is_err(), "{ended:?}");
    assert_eq!(fifo.closed().await?, "bye\n");
    Ok(())
}

#[tokio::test]
async fn a_child_that_answers_when_it_is_asked_to_end_gets_no_other_job() -> Result<()> {
    let mut fifo = Fifo::with_lines(1)?;
    let pipe = fifo.path().display();
    // It goes on for as long as it is let.
    let pool = pool(&format!(
        "case $line in *:1}}) asked=; trap 'asked=1' TERM; exec 4>{pipe}; echo here >&4
        while [ -z \"$asked\" ]; do sleep 0.05; done;; esac"
    ));
    let (first, _) = who(&pool).await;
    let job = job("1");
    let stop = job.stop.clone();
    let asked = async {
        fifo.lines().await.expect("it is there");
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(pool.process(job), asked);
    assert!(ended.is_ok(), "{ended:?}");
    assert_ne!(who(&pool).await.0, first);
    Ok(())
}

#[tokio::test]
async fn progress_is_that_of_the_present_job() {
    let pool = pool(r#"echo "{\"progress\":0.$n,\"message\":\"job $n\"}" >&3; sleep 0.2"#);
    for n in 1..=2 {
        let job = job("0");
        let reporter = job.reporter.clone();
        pool.process(job).await.expect("it is done");
        let (progress, message) = reporter.latest().expect("it was reported");
        assert_eq!(
            (progress, message),
            (Some((f64::from(n) / 10.0).into()), Some(format!("job {n}")))
        );
    }
}
