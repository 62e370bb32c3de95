//! Jobs per second from a standing backlog until all results are stored, with a processor that adds no work, beside bare
//! workers on as many channels with a bare consumer of their results.

use anyhow::Result;

use super::{
    bare_client,
    context::Bench,
    figure::{Figure, Threshold, Unit},
    load, process_usage,
    results::all_stored,
    system::StoreKind,
    web,
};

/// The numbers of workers, and the least ratio of the rate to that of as many bare workers.
const WORKERS: [(usize, f64); 3] = [(1, 0.80), (8, 0.80), (32, 0.80)];
/// The workers that are measured ahead of others: how many, and the least ratio of the rate to theirs with a prefetch of 1.
const AHEAD: [(usize, Option<f64>); 2] = [(1, None), (8, Some(3.0))];
/// Their prefetch.
const PREFETCH: u16 = 16;
const CONNECTIONS: usize = 64;
/// The name of this program beside the measured ones: it reads their logs.
const OWN: &str = "bench";
/// The number of workers at which the CPU time of each program is a figure.
const CPU_WORKERS: usize = 8;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let figure = |name, least: Option<f64>| {
        Figure::new(name, Unit::PerSecond, least.map(Threshold::AtLeast))
    };
    let mut plain =
        WORKERS.map(|(workers, least)| figure(format!("drain, {workers} workers"), Some(least)));
    let mut ahead = AHEAD.map(|(workers, least)| {
        figure(format!("drain, {workers} workers, PREFETCH={PREFETCH} by 1"), least)
    });
    for _ in bench.rounds("drain") {
        for (at, (workers, _)) in WORKERS.into_iter().enumerate() {
            let count = bench.scale.jobs(workers, 1);
            let seconds = bench.other_load.during(bare_client::work(&bench.system, count, workers));
            let floor = count as f64 / seconds.await?;
            let rate = measure_processor(bench, workers, 1, &mut plain[at]).await?;
            plain[at].add(rate, floor);
            let fast = AHEAD.into_iter().zip(&mut ahead).find(|((ahead, _), _)| *ahead == workers);
            if let Some((_, figure)) = fast {
                let fast = measure_processor(bench, workers, PREFETCH, figure).await?;
                figure.add(fast, rate);
            }
        }
    }
    let cpu = plain.iter().flat_map(cpu_figures).collect::<Vec<_>>();
    Ok(plain.into_iter().chain(ahead).chain(cpu).collect())
}

/// The CPU time of each program for 1,000 jobs, from the notes of a figure with several workers.
fn cpu_figures(drain: &Figure) -> Vec<Figure> {
    if drain.name != format!("drain, {CPU_WORKERS} workers") {
        return Vec::new();
    }
    let programs = drain.notes.iter().filter(|(program, _)| *program != OWN);
    let figures = programs.map(|(program, micros)| {
        let program = program.trim_end_matches(" µs CPU");
        let name = format!("{}, CPU of the {program} for 1,000", drain.name);
        let mut figure = Figure::new(name, Unit::Seconds, None);
        micros.iter().for_each(|micros| figure.add_without_floor(micros / 1000.0));
        figure
    });
    figures.collect()
}

/// The rate at which a processor works off requests that wait, and the web service stores the results.
pub(super) async fn measure_processor(
    bench: &Bench,
    workers: usize,
    prefetch: u16,
    figure: &mut Figure,
) -> Result<f64> {
    let (system, count) = (&bench.system, bench.scale.jobs(workers, prefetch));
    let database = system.database(StoreKind::Sqlite).await?;
    let web = system.web_service(&database).await?;
    load::post_count(web.address, CONNECTIONS, count).await?;
    let own = Some(std::process::id());
    let before = cpu_times([Some(web.program.pid()), None, Some(system.broker_pid()), own]);
    let drain = async {
        let processor = system.starting_echo_processor(workers, prefetch)?;
        let took = all_stored(&web.program, count).await?;
        Ok::<_, anyhow::Error>((processor, took))
    };
    let (processor, took) = bench.other_load.during(drain).await?;
    let ids = [web.program.pid(), processor.pid(), system.broker_pid()].map(Some);
    let after = cpu_times([ids[0], ids[1], ids[2], own]);
    let names = ["web service µs CPU", "processor", "broker", OWN];
    for ((name, before), after) in names.into_iter().zip(before).zip(after) {
        let used = after.map(|after| after - before.unwrap_or_default());
        figure.note(name, used.map(|seconds| seconds * 1e6 / count as f64));
    }
    web::stop(processor).await?;
    web.stop().await?;
    Ok(count as f64 / took.as_secs_f64())
}

fn cpu_times(ids: [Option<u32>; 4]) -> [Option<f64>; 4] {
    ids.map(|id| process_usage::cpu_time(id?))
}
