//! URLs that take the progress of jobs: each job has its own, under the address of the health listener, for as long as it
//! runs.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use crate::processor::progress::Reporter;

/// The path before the token of a job.
pub(crate) const PATH: &str = "/progress";

/// The URLs of the jobs that have one. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProgressUrls {
    address: Option<SocketAddr>,
    reporters: Arc<Mutex<HashMap<Uuid, Reporter>>>,
}

/// A URL that takes reports on one job until this is dropped.
#[derive(Debug)]
pub(crate) struct ProgressUrl {
    url: String,
    token: Uuid,
    urls: ProgressUrls,
}

impl ProgressUrls {
    /// URLs of the listener that is bound to this address. Without one, no job gets a URL.
    pub(crate) fn at(address: Option<SocketAddr>) -> Self {
        Self { address, reporters: Arc::default() }
    }

    /// Whether the listener is reached at any address of this machine.
    pub(crate) fn needs_own_address(&self) -> bool {
        self.address.is_some_and(|address| address.ip().is_unspecified())
    }

    /// A URL for reports to this reporter. `own_address` is where callers reach this machine, for a listener that is
    /// bound to all addresses.
    pub(crate) fn open(
        &self,
        reporter: &Reporter,
        own_address: Option<IpAddr>,
    ) -> Option<ProgressUrl> {
        let mut address = self.address?;
        if address.ip().is_unspecified() {
            address.set_ip(own_address?);
        }
        // Nobody can guess the random part.
        let token = Uuid::now_v7();
        self.reporters().insert(token, reporter.clone());
        let url = format!("http://{address}{PATH}/{token}");
        Some(ProgressUrl { url, token, urls: self.clone() })
    }

    /// The reporter of the job with this token, while it runs.
    pub(crate) fn reporter(&self, token: &str) -> Option<Reporter> {
        let token = Uuid::try_parse(token).ok()?;
        self.reporters().get(&token).cloned()
    }

    fn reporters(&self) -> MutexGuard<'_, HashMap<Uuid, Reporter>> {
        self.reporters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressUrl {
    /// The URL.
    pub(crate) fn as_str(&self) -> &str {
        &self.url
    }
}

impl Drop for ProgressUrl {
    fn drop(&mut self) {
        self.urls.reporters().remove(&self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(url: &ProgressUrl) -> &str {
        url.as_str().rsplit('/').next().unwrap()
    }

    #[test]
    fn a_url_leads_to_its_job_while_that_runs() {
        let urls = ProgressUrls::at(Some("127.0.0.1:3001".parse().unwrap()));
        let [one, other] = [Reporter::default(), Reporter::default()];
        let url = urls.open(&one, None).unwrap();
        let other_url = urls.open(&other, None).unwrap();
        assert!(url.as_str().starts_with("http://127.0.0.1:3001/progress/"), "{url:?}");
        urls.reporter(token(&url)).unwrap().progress(0.5, "half");
        assert!(one.latest().is_some() && other.latest().is_none());
        let text = token(&url).to_owned();
        drop(url);
        assert!(urls.reporter(&text).is_none() && urls.reporter("nonsense").is_none());
        assert!(urls.reporter(token(&other_url)).is_some());
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_at_one_of_them() {
        let reporter = Reporter::default();
        let urls = ProgressUrls::at(Some("0.0.0.0:3001".parse().unwrap()));
        assert!(urls.needs_own_address() && urls.open(&reporter, None).is_none());
        let url = urls.open(&reporter, Some("10.0.0.7".parse().unwrap())).unwrap();
        assert!(url.as_str().starts_with("http://10.0.0.7:3001/progress/"), "{url:?}");
        let urls = ProgressUrls::at(Some("[::1]:3001".parse().unwrap()));
        let url = urls.open(&reporter, None).unwrap();
        assert!(url.as_str().starts_with("http://[::1]:3001/progress/"), "{url:?}");
        assert!(ProgressUrls::default().open(&reporter, None).is_none());
    }
}
