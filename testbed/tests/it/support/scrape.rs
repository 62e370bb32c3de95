//! Metrics as a Prometheus server reads them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// The values of one scrape, by name and labels as they are written.
pub(crate) struct Scrape {
    samples: BTreeMap<String, f64>,
    /// The text itself.
    pub(crate) text: String,
}

impl Scrape {
    /// Reads the metrics at this URL.
    pub(crate) async fn of(base: &str) -> Result<Self> {
        let answer =
            testbed::http::builder().build()?.get(format!("{base}/metrics")).send().await?;
        ensure!(answer.status() == 200, "{}", answer.status());
        let kind = answer.headers()["content-type"].to_str()?.to_owned();
        ensure!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        let text = answer.text().await?;
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').context("a value")?;
            Ok((name.to_owned(), value.parse()?))
        });
        Ok(Self { samples: samples.collect::<Result<_>>()?, text })
    }

    /// The value of a metric. `labels` are as written; without braces if there are none.
    pub(crate) fn value(&self, metric: &str) -> Option<f64> {
        self.samples.get(&format!("slowlane_{metric}")).copied()
    }

    /// The names of all metrics, without those that belong to histograms.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let of_type = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        of_type.filter_map(|line| line.split(' ').next())
    }
}
