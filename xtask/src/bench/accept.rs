//! Accepted requests per second over many connections, beside the confirms per second of a bare client with as many
//! unconfirmed messages.

use anyhow::Result;

use super::{
    bare_client,
    context::Bench,
    figure::{Figure, Threshold, Unit},
    load::{self, Throughput},
    process_usage,
    system::StoreKind,
    web::WebService,
};

/// The number of connections, and the least ratio of SQLite's rate to the bare client's.
const LOADS: [(usize, f64); 2] = [(64, 0.55), (512, 0.48)];
/// The least ratio of PostgreSQL's rate to SQLite's.
const MIN_POSTGRES_RATIO: f64 = 0.85;
/// The number of connections at which the CPU time of a web service on SQLite is a figure, and the most seconds for 1,000
/// requests.
const CPU: (usize, f64) = (64, 0.027);

/// The figures for one number of connections.
struct Figures {
    connections: usize,
    by_store: Vec<(StoreKind, Figure)>,
    postgres_to_sqlite: Figure,
    /// The CPU time of a web service on SQLite for 1,000 requests.
    cpu: Figure,
}

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let kinds = bench.system.store_kinds();
    let mut all = LOADS.map(|(connections, least)| Figures::new(connections, &kinds, least));
    for _ in bench.rounds("accept") {
        for figures in &mut all {
            figures.measure_round(bench).await?;
        }
    }
    Ok(all.into_iter().flat_map(Figures::measured).collect())
}

impl Figures {
    fn new(connections: usize, kinds: &[StoreKind], least: f64) -> Self {
        let figure = |kind: &StoreKind| {
            let threshold = (*kind == StoreKind::Sqlite).then_some(Threshold::AtLeast(least));
            let name = format!("accept, {connections} connections, {kind}");
            (*kind, Figure::new(name, Unit::PerSecond, threshold))
        };
        let name = format!("accept, {connections} connections, PostgreSQL by SQLite");
        let threshold = Some(Threshold::AtLeast(MIN_POSTGRES_RATIO));
        let postgres_to_sqlite = Figure::new(name, Unit::PerSecond, threshold);
        let (at, most) = CPU;
        let name = format!("accept, {connections} connections, SQLite, CPU for 1,000");
        let threshold = (connections == at).then_some(Threshold::AtMost(most));
        let cpu = Figure::new(name, Unit::Seconds, threshold);
        let by_store = kinds.iter().map(figure).collect();
        Self { connections, by_store, postgres_to_sqlite, cpu }
    }

    async fn measure_round(&mut self, bench: &Bench) -> Result<()> {
        let Some((_, first)) = self.by_store.first_mut() else { return Ok(()) };
        let floor = measure_bare_client(bench, self.connections, first).await?;
        let mut sqlite = None;
        for (kind, figure) in &mut self.by_store {
            let (rate, cpu) = measure_web_service(bench, *kind, self.connections, figure).await?;
            if let (StoreKind::Sqlite, Some(micros)) = (*kind, cpu) {
                self.cpu.add_without_floor(micros / 1000.0);
            }
            figure.add(rate, floor);
            match sqlite {
                None => sqlite = Some(rate),
                Some(sqlite) => self.postgres_to_sqlite.add(rate, sqlite),
            }
        }
        Ok(())
    }

    fn measured(self) -> Vec<Figure> {
        let figures = self.by_store.into_iter().map(|(_, figure)| figure);
        let all = figures.chain([self.postgres_to_sqlite, self.cpu]);
        all.filter(|figure| !figure.samples.is_empty()).collect()
    }
}

/// The rate of a bare client. The broker's CPU time for it is noted beside `figure`.
async fn measure_bare_client(bench: &Bench, window: usize, figure: &mut Figure) -> Result<f64> {
    let before = cpu_times(bench, None);
    let published = bare_client::publish(&bench.system, window, bench.scale);
    let throughput = bench.other_load.during(published).await?;
    let [_, broker, _] = micros_per_message(&throughput, before, cpu_times(bench, None));
    figure.note("bare: broker µs CPU", broker);
    bench.system.purge().await?;
    Ok(throughput.per_second)
}

/// The rate of a web service on an empty store, and its microseconds of CPU time for each request.
pub(super) async fn measure_web_service(
    bench: &Bench,
    kind: StoreKind,
    connections: usize,
    figure: &mut Figure,
) -> Result<(f64, Option<f64>)> {
    let database = bench.system.database(kind).await?;
    let web = bench.system.web_service(&database).await?;
    let before = cpu_times(bench, Some(&web));
    let posted = load::post(web.address, connections, bench.scale);
    let throughput = bench.other_load.during(posted).await?;
    let after = cpu_times(bench, Some(&web));
    let [service, broker, client] = micros_per_message(&throughput, before, after);
    figure.note("p50 ms", throughput.p50.map(|seconds| seconds * 1000.0));
    figure.note("p99 ms", throughput.p99.map(|seconds| seconds * 1000.0));
    figure.note("web service µs CPU", service);
    figure.note("broker", broker);
    figure.note("clients", client);
    web.stop().await?;
    bench.system.purge().await?;
    Ok((throughput.per_second, service))
}

/// The CPU time of the web service, of the broker, and of this program, which makes the load.
type CpuTimes = [Option<f64>; 3];

fn cpu_times(bench: &Bench, web: Option<&WebService>) -> CpuTimes {
    let web = web.map(|web| web.program.pid());
    let ids = [web, Some(bench.system.broker_pid()), Some(std::process::id())];
    ids.map(|id| process_usage::cpu_time(id?))
}

/// The microseconds of CPU time per message.
fn micros_per_message(throughput: &Throughput, before: CpuTimes, after: CpuTimes) -> CpuTimes {
    [0, 1, 2].map(|at: usize| Some((after[at]? - before[at]?) * 1e6 / throughput.total as f64))
}
