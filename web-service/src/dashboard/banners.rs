//! Banners: what is wrong at present and what to do, decided from the status.

use std::time::Duration;

use maud::{Markup, html};
use pipeline::{
    contract::Timestamp,
    topology::{self, RequestType},
};

use crate::{
    api::status::Status,
    dashboard::format::{age, number, of},
};

/// An open request that is older is worth a look.
const OLD_AGE: Duration = Duration::from_secs(15 * 60);

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Nothing can be accepted or stored.
    Bad,
    /// Somebody should look at it.
    Warning,
}

/// Something that is wrong at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Banner {
    pub(super) level: Level,
    pub(super) title: &'static str,
    pub(super) detail: String,
    /// A moment that the detail is about.
    pub(super) since: Option<Timestamp>,
    /// A page about it, below `/`, and what it is called.
    pub(super) link: Option<(String, &'static str)>,
}

impl Banner {
    fn new(level: Level, title: &'static str, detail: impl Into<String>) -> Self {
        Self { level, title, detail: detail.into(), since: None, link: None }
    }

    /// The banner as HTML; `root` is the way to `/`.
    pub(super) fn markup(&self, root: &str) -> Markup {
        let class = match self.level {
            Level::Bad => "banner bad",
            Level::Warning => "banner",
        };
        html! {
            p class=(class) {
                strong { (self.title) } " "
                span { (self.detail) @if let Some(at) = self.since { " " (age(at)) } "." }
                @if let Some((path, label)) = &self.link { " " a href={ (root) (path) } { (label) } }
            }
        }
    }
}

/// What is wrong, the worst first.
pub(super) fn banners(status: &Status) -> Vec<Banner> {
    let found = [store(status), broker(status), topology(status), nobody_consumes(status)];
    found.into_iter().chain([unreadable(status), oldest(status)]).flatten().collect()
}

/// What makes the numbers of every page wrong or old.
pub(super) fn bad(status: &Status) -> Vec<Banner> {
    banners(status).into_iter().filter(|banner| banner.level == Level::Bad).collect()
}

fn missing<'a>(status: &'a Status, name: &str) -> Option<&'a str> {
    status.parts.get(name).filter(|part| !part.ok).map(|part| part.detail.as_str())
}

/// On SQLite it is not used while the broker is away; what was read from it shows that it is there.
fn store(status: &Status) -> Option<Banner> {
    let detail = missing(status, "store")?;
    if broker(status).is_some() && status.requests.open.is_some() {
        return None;
    }
    let detail = format!("{detail}. Requests are refused meanwhile; results wait in the broker");
    Some(Banner::new(Level::Bad, "The store is away.", detail))
}

fn broker(status: &Status) -> Option<Banner> {
    let detail = missing(status, "broker.publish").or_else(|| missing(status, "broker.consume"))?;
    let detail =
        format!("{detail}. Requests are refused meanwhile; none that was accepted is lost");
    Some(Banner::new(Level::Bad, "The broker is away.", detail))
}

/// Only if the broker is there: else its queues can't be seen.
fn topology(status: &Status) -> Option<Banner> {
    if broker(status).is_some() {
        return None;
    }
    let detail = missing(status, "topology")?;
    Some(Banner::new(Level::Bad, "The queues are not as they should be.", detail))
}

fn nobody_consumes(status: &Status) -> Option<Banner> {
    let (waiting, subscribed) = (status.requests.waiting?, status.workers.subscribed?);
    if subscribed > 0 {
        return some_consume(status);
    }
    (waiting > 0).then(|| {
        let waiting = of(waiting.into(), "request waits", "requests wait");
        Banner::new(
            Level::Warning,
            "Nobody consumes.",
            format!("{waiting}, and no worker is subscribed: start processor-service"),
        )
    })
}

/// If requests of some types wait for nobody, although other types have workers.
fn some_consume(status: &Status) -> Option<Banner> {
    let idle = status.queues.iter().filter(|queue| queue.messages > 0 && queue.consumers == 0);
    let idle = idle.filter_map(|queue| Some((queue, RequestType::of_queue(&queue.name)?)));
    let (queues, types): (Vec<_>, Vec<_>) = idle.unzip();
    let waiting: u64 = queues.iter().map(|queue| u64::from(queue.messages)).sum();
    let names: Vec<_> = types.iter().map(RequestType::as_str).collect();
    (waiting > 0).then(|| {
        let (waiting, names) = (of(waiting, "request waits", "requests wait"), names.join(","));
        let detail = format!(
            "{waiting}, and no worker is subscribed to their type: start processor-service with TYPES={names}"
        );
        Banner::new(Level::Warning, "Nobody consumes some types.", detail)
    })
}

fn unreadable(status: &Status) -> Option<Banner> {
    let queue = status.queues.iter().find(|queue| queue.name == topology::UNREADABLE)?;
    (queue.messages > 0).then(|| {
        let name = topology::UNREADABLE;
        let detail =
            format!("{} in {name}, which no program can receive", number(queue.messages.into()));
        Banner::new(Level::Warning, "Unreadable messages.", detail)
    })
}

fn oldest(status: &Status) -> Option<Banner> {
    let oldest = status.oldest.as_ref()?;
    let at = oldest.accepted_at?;
    (status.at.saturating_duration_since(at) > OLD_AGE).then(|| Banner {
        since: Some(at),
        link: Some((format!("requests/{}", oldest.request_id), "Open it")),
        ..Banner::new(Level::Warning, "Waiting for long.", "The oldest open request was accepted")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pipeline::health::Part;
    use uuid::Uuid;

    use super::*;
    use crate::api::status::{Oldest, QueueView, Requests, Workers};

    fn calm() -> Status {
        let parts = ["broker.publish", "broker.consume", "topology", "store", "workers"];
        Status {
            at: Timestamp::from_millis(1_700_000_000_000),
            status: "ready",
            parts: parts
                .map(|name| (name, Part::ok("fine")))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            requests: Requests {
                open: Some(3),
                waiting: Some(1),
                processing: 1,
                retrying: Some(1),
                failed: Some(2),
            },
            count_limit: 10_000,
            oldest: None,
            rates: None,
            workers: Workers { subscribed: Some(2), busy: 1 },
            queues: vec![QueueView {
                name: topology::UNREADABLE.to_owned(),
                messages: 0,
                consumers: 0,
            }],
        }
    }

    fn titles(status: &Status) -> Vec<&'static str> {
        banners(status).iter().map(|banner| banner.title).collect()
    }

    #[test]
    fn nothing_is_said_while_all_is_well() {
        assert_eq!(banners(&calm()), []);
    }

    #[test]
    fn a_type_that_nobody_consumes_is_named_although_others_have_workers() {
        let mut status = calm();
        let queue = |name: &str, messages, consumers| QueueView {
            name: name.to_owned(),
            messages,
            consumers,
        };
        status
            .queues
            .extend([queue("processing.requests", 4, 2), queue("processing.results", 7, 0)]);
        assert_eq!(banners(&status), []);
        status.queues.push(queue("processing.requests.video", 3, 0));
        let [banner] = &banners(&status)[..] else { panic!() };
        assert!(banner.detail.starts_with("3 requests wait"), "{}", banner.detail);
        assert!(banner.detail.ends_with("with TYPES=video"), "{}", banner.detail);
    }

    #[test]
    fn each_trouble_has_its_banner_and_the_worst_comes_first() {
        let mut status = calm();
        status.parts.insert("store", Part::missing("no answer"));
        status.requests.open = None;
        status.parts.insert("broker.consume", Part::missing("refused"));
        status.parts.insert("topology", Part::missing("not checked"));
        status.workers.subscribed = Some(0);
        status.queues[0].messages = 4;
        let at = status.at - Duration::from_secs(3600);
        status.oldest = Some(Oldest { request_id: Uuid::nil(), accepted_at: Some(at) });
        let expected = [
            "The store is away.",
            "The broker is away.",
            "Nobody consumes.",
            "Unreadable messages.",
            "Waiting for long.",
        ];
        assert_eq!(titles(&status), expected);
        assert_eq!(bad(&status).len(), 2);
    }

    #[test]
    fn a_store_that_waits_for_the_broker_is_not_away() {
        let mut status = calm();
        for part in ["store", "broker.publish"] {
            status.parts.insert(part, Part::missing("refused"));
        }
        assert_eq!(titles(&status), ["The broker is away."]);
    }

    #[test]
    fn what_is_not_known_is_no_trouble() {
        let mut status = calm();
        (status.requests.waiting, status.workers.subscribed) = (None, None);
        status.queues.clear();
        assert_eq!(banners(&status), []);
    }
}
