//! A store with 1,000,000 requests: no page and no list makes its reader wait.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::support::{
    database::Database,
    stack::{Stack, Web},
};

const ROWS: i64 = 1_000_000;
/// How many rows a statement adds: one that adds all takes longer than a caller waits.
const ROWS_AT_ONCE: i64 = 50_000;
/// The requests were accepted one after the other, at this distance, until now: in less than five days.
const INTERVAL_MILLIS: i64 = 400;
/// How many error groups have failed requests: more than are shown.
const GROUPS: i64 = 300;
/// What an answer may take, with its way to the client.
const MAX_TIME: Duration = Duration::from_millis(200);
/// How often each address is asked for. The best time counts: the others are also those of what else the machine does.
const ROUNDS: u32 = 5;

/// The SQL that fills the tables, with the parts that differ between the stores.
struct Filler<'a> {
    database: &'a Database,
    now: i64,
}

impl Filler<'_> {
    /// When the request with the number `n` was accepted.
    fn accepted_at(&self) -> String {
        format!("({} - ({ROWS} - n) * {INTERVAL_MILLIS})", self.now)
    }

    /// The id that such a request has.
    fn id(&self) -> String {
        let at = self.accepted_at();
        match self.database {
            Database::File(_) => format!("unhex(printf('%012x7%03x8%015x', {at}, n % 4096, n))"),
            Database::Server { .. } => format!(
                "(lpad(to_hex({at}), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8' || \
                 lpad(to_hex(n), 15, '0'))::uuid"
            ),
        }
    }

    fn payload(&self) -> String {
        let json = format!("\"{}\"", "x".repeat(200));
        match self.database {
            Database::File(_) => format!("CAST('{json}' AS BLOB)"),
            Database::Server { .. } => format!("convert_to('{json}', 'UTF8')"),
        }
    }

    /// Adds a row for each number from 1 to `count` that meets a condition.
    async fn add(&self, into: &str, count: i64, values: &str, condition: &str) -> Result<()> {
        for first in (1..=count).step_by(ROWS_AT_ONCE as usize) {
            let last = count.min(first + ROWS_AT_ONCE - 1);
            let sql = format!(
                "INSERT INTO {into} WITH RECURSIVE numbers (n) AS (SELECT CAST({first} AS bigint) \
                 UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}) \
                 SELECT {values} FROM numbers WHERE {condition}"
            );
            self.database.change(&sql).await.with_context(|| format!("adding to {into}"))?;
        }
        Ok(())
    }

    /// A tenth has failed, some are open or cancelled. Few are of one type, and few have one error code.
    async fn fill(&self) -> Result<()> {
        let (id, at, payload) = (self.id(), self.accepted_at(), self.payload());
        let worker = "'host:12345/1'";
        let requests = format!(
            "{id}, CASE WHEN n % 50 = 7 THEN 0 WHEN n % 10 = 3 THEN 2 WHEN n % 50 = 11 THEN 3 ELSE 1 END, \
             CASE WHEN n % 100000 = 3 THEN 'rare' WHEN n % 3 = 0 THEN 'video' ELSE 'default' END, \
             CASE WHEN n % 100 = 13 THEN 5 WHEN n % 10 = 3 THEN 2 ELSE 1 END, 1, {at}, {at} + 10, \
             CASE WHEN n % 50 = 7 THEN NULL ELSE {at} + 300 END, \
             CASE WHEN n % 50 = 7 THEN NULL ELSE {at} + 310 END, {worker}, \
             CASE WHEN n % 10 <> 3 THEN NULL WHEN n % 10000 = 13 THEN 'rare' WHEN n % 20 = 3 \
             THEN 'transient' ELSE 'permanent' END, \
             CASE WHEN n % 10 = 3 THEN 'no such file' ELSE NULL END, \
             {payload}, CASE WHEN n % 10 = 5 THEN {payload} ELSE NULL END"
        );
        let columns = "requests (id, status, type, attempts, deliveries, accepted_at, started_at, \
            finished_at, settled_at, worker, error_code, error_message, request_data, result)";
        self.add(columns, ROWS, &requests, "true").await?;
        let failures = format!("{id}, n / 10 % {GROUPS}");
        self.add("failures (failed_id, group_id)", ROWS, &failures, "n % 10 = 3").await?;
        let columns = "attempts (request_id, run, attempt, part, delivery, worker, began_at, ended_at, \
            code, message)";
        for attempt in 0..2 {
            let of = format!(
                "{id}, 0, {attempt} + 1, {attempt}, 1, {worker}, {at} + 10, {at} + 300, 'permanent', \
                 'no such file'"
            );
            self.add(columns, ROWS, &of, "n % 10 = 3").await?;
        }
        self.fill_groups(&id, &at).await?;
        self.fill_counts().await?;
        let of = format!("{id}, 1, 'a.example', 0, {at} + 310, {at} + 310, 1");
        let columns = "callbacks (request_id, state, host, of_run, ended_at, due_at, calls)";
        self.add(columns, ROWS, &of, "n % 20 = 1").await?;
        if let Database::Server { .. } = self.database {
            // The server does so by itself, a while later.
            self.database.change("VACUUM (ANALYZE)").await?;
        }
        Ok(())
    }

    async fn fill_groups(&self, id: &str, at: &str) -> Result<()> {
        let group = format!(
            "n % {GROUPS}, 'permanent', 'no such file * ' || n, 'no such file 7', {id}, {at}"
        );
        let columns = "error_groups (id, code, pattern, example, example_id, first_at)";
        self.add(columns, GROUPS, &group, "true").await?;
        // As of some connections, which count for themselves.
        let counts = format!("n % {GROUPS}, n / {GROUPS}, 7, {at}");
        self.add("group_counts (group_id, writer, count, last_at)", 10 * GROUPS, &counts, "true")
            .await
    }

    /// Each minute of a day, and each hour of a month.
    async fn fill_counts(&self) -> Result<()> {
        let (minute, hour) = (self.now / 60_000, self.now / 3_600_000);
        let kind = "CASE n % 2 WHEN 0 THEN 'video' ELSE 'default' END";
        let columns = "minutes (minute, writer, type, accepted, completed, failed)";
        let counts = format!("{minute} - n / 2 % 1500, n / 3000 + 1, {kind}, 150, 130, 15");
        self.add(columns, 10 * 3000 - 1, &counts, "true").await?;
        let counts = format!("{hour} - n / 2, {kind}, 9000, 7800, 900");
        self.add("hours (hour, type, accepted, completed, failed)", 1488, &counts, "true").await?;
        let tallies = format!("n, {kind}, 2000, 86000, 10000, 2000");
        self.add(
            "tallies (writer, type, queued, completed, failed, cancelled)",
            20,
            &tallies,
            "true",
        )
        .await
    }
}

/// The queries of lists: each filter, and several together, also such that nothing or little meets them.
fn list_queries(known: &Known) -> Vec<String> {
    let Known { prefix, after, before, .. } = known;
    let filters = [
        "".to_owned(),
        "status=queued".to_owned(),
        "status=processing".to_owned(),
        "status=completed".to_owned(),
        "status=failed".to_owned(),
        "status=cancelled".to_owned(),
        "type=default".to_owned(),
        "type=rare".to_owned(),
        "type=unknown".to_owned(),
        "code=permanent".to_owned(),
        "code=rare".to_owned(),
        "code=unknown".to_owned(),
        "group=0000000000000007".to_owned(),
        "attempts=2".to_owned(),
        "attempts=5".to_owned(),
        "attempts=6".to_owned(),
        format!("id={prefix}"),
        format!("acceptedAfter={after}"),
        format!("acceptedBefore={before}"),
        "status=failed&type=rare".to_owned(),
        "status=completed&type=rare".to_owned(),
        "status=queued&code=permanent".to_owned(),
        "type=rare&code=permanent".to_owned(),
        "type=rare&attempts=2".to_owned(),
        "status=completed&attempts=6".to_owned(),
        "group=0000000000000007&type=rare&attempts=6".to_owned(),
        "code=permanent&attempts=6&type=video&status=failed".to_owned(),
        format!("status=failed&type=video&acceptedAfter={after}&acceptedBefore={before}"),
        format!("code=rare&attempts=5&acceptedBefore={before}"),
        format!("id={prefix}&status=failed&code=transient&type=rare"),
    ];
    filters.into()
}

/// What is known of the requests.
struct Known {
    /// With which ids begin that were made at about the same time.
    prefix: String,
    /// A part of the time.
    after: String,
    before: String,
    /// Requests of each status.
    ids: Vec<String>,
}

impl Known {
    async fn of(web: &Web) -> Result<Self> {
        let mut ids = Vec::new();
        for status in ["queued", "completed", "failed", "cancelled"] {
            let list = web.list(&format!("limit=2&status={status}")).await?;
            let id = list["items"][1]["requestId"].as_str().context("a request")?;
            ids.push(id.to_owned());
        }
        let middle = web.list(&format!("limit=1&cursor={}", middle(&ids[1])?)).await?;
        let middle = &middle["items"][0];
        let text = |name: &str| middle[name].as_str().map(str::to_owned).context("a text");
        let (id, before) = (text("requestId")?, text("acceptedAt")?);
        let oldest = web.list(&format!("limit=1&acceptedBefore={before}")).await?;
        ensure!(oldest["items"][0].is_object(), "{oldest}");
        ids.push(id.clone());
        let after = format!("{}T00:00:00Z", &before[..10]);
        Ok(Self { prefix: id[..8].to_owned(), after, before, ids })
    }
}

/// The cursor of the page in the middle of the list, given an id of the newest requests.
fn middle(newest: &str) -> Result<String> {
    let newest = i64::from_str_radix(&newest.replace('-', "")[..12], 16)?;
    Ok(format!("a{:012x}{}", newest - ROWS / 2 * INTERVAL_MILLIS, "0".repeat(20)))
}

/// The addresses of all pages, and of what the API lists and counts.
fn addresses(known: &Known) -> Result<Vec<String>> {
    let middle = middle(&known.ids[1])?;
    let mut all: Vec<String> = [
        "/",
        "/?range=24h",
        "/?range=7d",
        "/failed",
        "/workers",
        "/submit",
        "/bulk?action=replay&status=failed",
        "/bulk?action=replay&canary=true&status=failed&group=0000000000000007",
        "/bulk?action=cancel&type=rare&code=permanent&attempts=6",
        "/api/v1/status",
        "/api/v1/workers",
        "/api/v1/scale",
        "/api/v1/error-groups",
        "/api/v1/error-groups?failed=true",
        "/api/v1/error-groups/0000000000000007",
        "/api/v1/stats?range=1h",
        "/api/v1/stats?range=24h",
        "/api/v1/stats?range=7d",
        "/api/v1/stats?range=7d&type=video",
        "/api/v1/bulk-runs",
        "/api/v1/parked",
        "/metrics",
        "/health/ready",
    ]
    .map(str::to_owned)
    .into();
    for query in list_queries(known) {
        for cursor in ["".to_owned(), format!("&cursor={middle}")] {
            all.push(format!("/requests?{query}{cursor}"));
            all.push(format!("/api/v1/requests?limit=500&count=true&{query}{cursor}"));
        }
    }
    for id in &known.ids {
        all.push(format!("/requests/{id}"));
        for part in ["", "/attempts", "/why", "/data"] {
            all.push(format!("/api/v1/requests/{id}{part}"));
        }
    }
    Ok(all)
}

/// The best time that an address takes.
async fn time(web: &Web, path: &str) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let answer = web.get(path).await?;
        let (status, text) = (answer.status(), answer.text().await?);
        best = best.min(start.elapsed());
        ensure!(status == 200, "{path} was answered with {status}: {text}");
    }
    Ok(best)
}

#[tokio::test]
async fn every_page_and_list_of_a_million_requests_takes_less_than_200_ms() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        // It makes the tables.
        let web = database.web(&stack).await?;
        let stats: Value = web.get("/api/v1/stats?range=1h").await?.json().await?;
        let now: pipeline::contract::Timestamp =
            stats["at"].as_str().context("a time")?.parse().ok().context("the time")?;
        Filler { database: &database, now: now.as_millis() }.fill().await?;
        let mut times = Vec::new();
        for path in addresses(&Known::of(&web).await?)? {
            times.push((time(&web, &path).await?, path));
        }
        times.sort_unstable();
        times.reverse();
        for (time, path) in &times[..10] {
            println!("{time:?}  {path}");
        }
        let slow: Vec<_> = times.iter().filter(|(time, _)| *time >= MAX_TIME).collect();
        ensure!(slow.is_empty(), "too slow with {}: {slow:#?}", database.url());
    }
    Ok(())
}
