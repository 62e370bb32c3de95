//! Accepting: requests in a second over many connections, beside what the broker confirms to a bare client that has as
//! many unconfirmed.

use anyhow::Result;

use super::{
    Bench, bare,
    figure::{Figure, Hold, Unit},
    load::{self, Rate},
    stage::Kind,
    usage,
    web::Web,
};

/// How many connections there are, and what at least is to be left of the bare rate with SQLite.
const LOADS: [(usize, f64); 2] = [(64, 0.55), (512, 0.45)];
/// PostgreSQL's rate by that of SQLite.
const POSTGRES: f64 = 0.85;

/// The figures of one number of connections.
struct Figures {
    connections: usize,
    by_kind: Vec<(Kind, Figure)>,
    postgres_to_sqlite: Figure,
}

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let kinds = bench.stage.kinds();
    let mut all = LOADS.map(|(connections, hold)| Figures::new(connections, &kinds, hold));
    for _ in bench.rounds("accept") {
        for figures in &mut all {
            figures.round(bench).await?;
        }
    }
    Ok(all.into_iter().flat_map(Figures::figures).collect())
}

impl Figures {
    fn new(connections: usize, kinds: &[Kind], hold: f64) -> Self {
        let figure = |kind: &Kind| {
            let hold = (*kind == Kind::Sqlite).then_some(Hold::AtLeast(hold));
            let name = format!("accept, {connections} connections, {kind}");
            (*kind, Figure::new(name, Unit::PerSecond, hold))
        };
        let name = format!("accept, {connections} connections, PostgreSQL by SQLite");
        let hold = Some(Hold::AtLeast(POSTGRES));
        let postgres_to_sqlite = Figure::new(name, Unit::PerSecond, hold);
        Self { connections, by_kind: kinds.iter().map(figure).collect(), postgres_to_sqlite }
    }

    async fn round(&mut self, bench: &Bench) -> Result<()> {
        let Some((_, first)) = self.by_kind.first_mut() else { return Ok(()) };
        let floor = floor(bench, self.connections, first).await?;
        let mut sqlite = None;
        for (kind, figure) in &mut self.by_kind {
            let rate = with(bench, *kind, self.connections, figure).await?;
            figure.add(rate, floor);
            match sqlite {
                None => sqlite = Some(rate),
                Some(sqlite) => self.postgres_to_sqlite.add(rate, sqlite),
            }
        }
        Ok(())
    }

    fn figures(self) -> Vec<Figure> {
        let figures = self.by_kind.into_iter().map(|(_, figure)| figure);
        figures
            .chain([self.postgres_to_sqlite])
            .filter(|figure| !figure.samples.is_empty())
            .collect()
    }
}

/// The rate of a bare client. What it costs the broker is noted beside the figures that it is the floor of.
async fn floor(bench: &Bench, window: usize, figure: &mut Figure) -> Result<f64> {
    let before = used(bench, None);
    let rate = bare::publishes(&bench.stage, window, bench.scale);
    let rate = bench.usage.during(rate).await?;
    let [_, broker, _] = each(&rate, before, used(bench, None));
    figure.note("bare: broker µs CPU", broker);
    bench.stage.purge().await?;
    Ok(rate.per_second)
}

/// The rate of a web service on a new store.
async fn with(bench: &Bench, kind: Kind, connections: usize, figure: &mut Figure) -> Result<f64> {
    let database = bench.stage.database(kind).await?;
    let web = bench.stage.web(&database).await?;
    let before = used(bench, Some(&web));
    let rate = load::posts(web.address, connections, bench.scale);
    let rate = bench.usage.during(rate).await?;
    let [service, broker, client] = each(&rate, before, used(bench, Some(&web)));
    figure.note("p50 ms", rate.p50.map(|seconds| seconds * 1000.0));
    figure.note("p99 ms", rate.p99.map(|seconds| seconds * 1000.0));
    figure.note("web service µs CPU", service);
    figure.note("broker", broker);
    figure.note("clients", client);
    web.stop().await?;
    bench.stage.purge().await?;
    Ok(rate.per_second)
}

type Used = [Option<f64>; 3];

/// The processor time of the web service, of the broker, and of this program, which makes the load.
fn used(bench: &Bench, web: Option<&Web>) -> Used {
    let ids =
        [web.map(|web| web.program.pid()), Some(bench.stage.broker()), Some(std::process::id())];
    ids.map(|id| usage::processor_time(id?))
}

/// The microseconds of processor time for each message.
fn each(rate: &Rate, before: Used, after: Used) -> Used {
    [0, 1, 2].map(|at: usize| Some((after[at]? - before[at]?) * 1e6 / rate.all as f64))
}
