//! Short jobs with one worker: by commands that stay up beside a process for each job; and what of the time of a job of a
//! millisecond is not its own, by a command and in Rust.

use std::time::Instant;

use anyhow::{Result, ensure};
use tokio::process::Command;

use super::{
    context::Bench,
    figure::{Figure, Unit},
    load, process_usage,
    results::all_stored,
    system::StoreKind,
    web,
};

const CONNECTIONS: usize = 64;
/// The jobs of a round in a full run, and in a quick one.
const JOBS: [usize; 2] = [10_000, 500];
/// A job that takes a millisecond or a process of its own is done once where another is done ten times.
const SLOW_SHARE: usize = 10;
/// How many jobs of a millisecond fit into a second.
const IDEAL_RATE: f64 = 1000.0;

/// A command that does nothing.
const NO_OP: &str = "true";
/// The same, by a child that stays up.
const NO_OP_CHILD: &str = r#"sh -c 'while read -r line; do id=${line#*\"id\":\"}; echo "{\"id\":\"${id%%\"*}\",\"result\":0}"; done'"#;
/// A command that takes a millisecond, and its start.
const MILLISECOND: &str = "sleep 0.001";
/// The CPU time of the processor alone, without commands and their guards.
const PROCESSOR_CPU: &str = "processor µs CPU";

/// The settings of a processor.
type Settings<'a> = &'a [(&'a str, &'a str)];

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let figure = |name: &str| Figure::new(format!("short, {name}"), Unit::PerSecond, None);
    let mut pool = figure("no-op by COMMAND_POOL, by a process each");
    let mut rust = figure("1 ms in Rust, by 1000 /s");
    let mut ahead = figure("1 ms in Rust, PREFETCH=16, by 1000 /s");
    let mut command = figure("1 ms by a command, by the command alone");
    let [full, quick] = JOBS;
    let many = if bench.scale.quick { quick } else { full };
    let few = many / SLOW_SHARE;
    let by_command = |line| [("PROCESSOR", "command"), ("PROCESSOR_COMMAND", line)];
    let in_pool = [&by_command(NO_OP_CHILD)[..], &[("COMMAND_POOL", "true")]].concat();
    let waiting = [("PROCESSOR", "simulate"), ("PROCESSING_DELAY", "1ms")];
    let prefetching = [&waiting[..], &[("PREFETCH", "16"), ("JOB_TIMEOUT", "1m")]].concat();
    for _ in bench.rounds("short") {
        let mut each = figure("a process each");
        let slow = rate(bench, few, &by_command(NO_OP), &mut each).await?;
        let fast = rate(bench, many, &in_pool, &mut pool).await?;
        pool.add(fast, slow);
        let each = each.notes.iter().find(|(name, _)| *name == PROCESSOR_CPU);
        pool.note("with a process each", each.and_then(|(_, numbers)| numbers.first().copied()));
        let in_rust = rate(bench, few, &waiting, &mut rust).await?;
        rust.add(in_rust, IDEAL_RATE);
        let in_rust = rate(bench, few, &prefetching, &mut ahead).await?;
        ahead.add(in_rust, IDEAL_RATE);
        let floor = bench.other_load.during(alone(few)).await?;
        let commands = rate(bench, few, &by_command(MILLISECOND), &mut command).await?;
        command.add(commands, floor);
    }
    Ok(vec![pool, rust, ahead, command])
}

/// The rate at which one worker does requests that wait, until their results are stored. Notes the CPU time of a job.
async fn rate(
    bench: &Bench,
    count: usize,
    settings: Settings<'_>,
    figure: &mut Figure,
) -> Result<f64> {
    let system = &bench.system;
    let database = system.database(StoreKind::Sqlite).await?;
    let web = system.web_service(&database).await?;
    load::post_count(web.address, CONNECTIONS, count).await?;
    let used = |pid| process_usage::cpu_time(pid).unwrap_or(f64::NAN);
    let before = [used(web.program.pid()), 0.0, used(system.broker_pid())];
    let drain = async {
        let processor = system.starting_processor(settings)?;
        let took = all_stored(&web.program, count).await?;
        anyhow::Ok((processor, took))
    };
    let (processor, took) = bench.other_load.during(drain).await?;
    let after = [web.program.pid(), processor.pid(), system.broker_pid()].map(used);
    let names = ["web service µs CPU", PROCESSOR_CPU, "broker µs CPU"];
    for ((name, before), after) in names.into_iter().zip(before).zip(after) {
        let micros = (after - before) * 1e6 / count as f64;
        figure.note(name, micros.is_finite().then_some(micros));
    }
    // Jobs in a second of all the CPU time that Slowlane and the broker use for them.
    let all: f64 = after.iter().sum::<f64>() - before.iter().sum::<f64>();
    figure.note("jobs per second of CPU", all.is_finite().then_some(count as f64 / all));
    web::stop(processor).await?;
    web.stop().await?;
    Ok(count as f64 / took.as_secs_f64())
}

/// The rate at which the command of a millisecond runs without Slowlane, one after the other.
async fn alone(count: usize) -> Result<f64> {
    let mut words = MILLISECOND.split(' ');
    let (program, arguments) = (words.next().unwrap_or_default(), words.collect::<Vec<_>>());
    let began = Instant::now();
    for _ in 0..count {
        let status = Command::new(program).args(&arguments).status().await?;
        ensure!(status.success(), "{MILLISECOND} ended with {status}");
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
