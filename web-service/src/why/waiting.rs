//! Why a request waits that no worker claims, and when its work may begin.

use std::time::Duration;

use pipeline::{contract::Timestamp, health::QueueCounts, topology::RequestType};

use crate::why::facts::{Begins, Facts, Reason, Why, counted};

/// How long a message may be on its way before its queue is looked at.
const ON_THE_WAY: Duration = Duration::from_secs(10);
/// An estimate beyond this is none.
const MAX_ESTIMATE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why a request waits.
pub(super) fn waiting(facts: &Facts) -> Why {
    let request = &facts.request;
    let away = facts.broker_away.as_ref().map(|reason| {
        let text = format!(
            "The broker is away: {reason}. The request is stored, and goes on when the broker is back."
        );
        Reason::new("broker-away", text)
    });
    if let Some(at) = request.next_attempt_at.filter(|at| *at > facts.now) {
        let error = request.last_error.as_ref();
        let error = error.map(|error| format!(": {error}")).unwrap_or_default();
        let (attempts, next) = (request.attempts, request.attempts.saturating_add(1));
        let text = format!("Attempt {attempts} failed{error}. Attempt {next} begins at {at}.");
        let reasons = [away, Some(Reason::new("waits-for-time", text))];
        let begins = facts.broker_away.is_none().then_some(Begins { at, is_estimate: false });
        return Why { reasons: reasons.into_iter().flatten().collect(), begins };
    }
    if !facts.is_known_type {
        let kind = &request.kind;
        let unknown = Reason::new(
            "unknown-type",
            format!(
                "It waits for a worker. Its type {kind} is not among the TYPES of the web service, so what its queue holds is not known."
            ),
        );
        return Why::of(away.into_iter().chain([unknown]).collect());
    }
    match (away, facts.queue) {
        (Some(away), _) => Why::of(vec![away]),
        (None, None) => Why::of(vec![Reason::new(
            "not-known",
            "It waits for a worker. What the queue holds is not known at present.",
        )]),
        (None, Some(queue)) => waits_for_worker(facts, queue),
    }
}

fn waits_for_worker(facts: &Facts, queue: QueueCounts) -> Why {
    let QueueCounts { waiting, consumers } = queue;
    let request = &facts.request;
    let since = request.next_attempt_at.or(request.accepted_at);
    let is_old = since.is_some_and(|at| facts.now.saturating_duration_since(at) > ON_THE_WAY);
    // When a later run was published is not known.
    let is_due = is_old && request.run == 0;
    let (busy, suspects) = (facts.work.busy, facts.suspects);
    let (kind, is_default) = (&request.kind, request.kind == RequestType::DEFAULT.as_str());
    let of_type = if is_default { String::new() } else { format!(" of the type {kind}") };
    if consumers == 0 && suspects > 0 {
        let suspects = u32::try_from(suspects).unwrap_or(u32::MAX);
        let text = format!(
            "No worker takes requests{of_type} at present: {} alone in its process, since workers may have died of it. If \
             this lasts, look whether a processor-service runs for this type.",
            counted(suspects, "request runs", "requests run each")
        );
        return Why::of(vec![Reason::new("workers-paused", text)]);
    }
    if consumers == 0 && busy == 0 {
        let start = if is_default { String::new() } else { format!(" with TYPES={kind}") };
        let text = format!(
            "No worker consumes requests{of_type}, and {waiting} wait: start processor-service{start}."
        );
        return Why::of(vec![Reason::new("no-worker", text)]);
    }
    if waiting == 0 && is_due {
        let text = "The queue is empty, and no worker reports this request: its message may be missing, which slowlane \
            verify finds out.";
        return Why::of(vec![Reason::new("may-be-missing", text)]);
    }
    let ahead = ahead(facts, waiting);
    let longest = facts.work.longest_since;
    let longest = longest.map(|at| format!(", the longest since {at}")).unwrap_or_default();
    let rate = facts.ended_per_second.filter(|rate| *rate > 0.0);
    let pace = rate.map(|rate| format!(" About {} end in a minute.", rounded(rate * 60.0)));
    let text = format!(
        "It waits for a free worker: {}. {} requests{of_type}, {} known to be busy{longest}.{}",
        places(&ahead),
        counted(consumers, "worker consumes", "workers consume"),
        counted(u32::try_from(busy).unwrap_or(u32::MAX), "is", "are"),
        pace.unwrap_or_default()
    );
    let begins = rate.and_then(|rate| estimate(facts.now, ahead.count, rate));
    Why { reasons: vec![Reason::new("waits-for-worker", text)], begins }
}

/// How many requests wait before one.
struct Ahead {
    count: u32,
    /// Whether there may be fewer.
    is_most: bool,
}

/// How many requests wait before this one, as far as it can be told. A later attempt or run stands behind those that
/// were accepted after it, and of very many the place is not known.
fn ahead(facts: &Facts, waiting: u32) -> Ahead {
    let request = &facts.request;
    let is_first = request.run == 0 && request.attempts == 0;
    let others = waiting.saturating_sub(1);
    match facts.before.filter(|_| is_first) {
        Some(before) => Ahead { count: before.min(others), is_most: false },
        None => Ahead { count: others, is_most: others > 0 },
    }
}

fn places(ahead: &Ahead) -> String {
    let at_most = if ahead.is_most { "at most " } else { "" };
    format!("{at_most}{} before it", counted(ahead.count, "request waits", "requests wait"))
}

fn estimate(now: Timestamp, ahead: u32, per_second: f64) -> Option<Begins> {
    let wait = Duration::try_from_secs_f64(f64::from(ahead.saturating_add(1)) / per_second).ok()?;
    (wait <= MAX_ESTIMATE).then(|| Begins { at: now + wait, is_estimate: true })
}

fn rounded(count: f64) -> String {
    if count < 10.0 { format!("{count:.1}") } else { format!("{count:.0}") }
}

#[cfg(test)]
mod tests {
    use store::{Status, Summary};

    use super::*;
    use crate::why::facts::WorkInHand;
    use crate::why::samples::{at, facts, request, waits};

    fn codes(facts: &Facts) -> Vec<&'static str> {
        waiting(facts).reasons.iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn a_request_that_waits_for_a_worker_has_a_place_and_an_estimate() {
        let told = waiting(&waits());
        let expected = "It waits for a free worker: 9 requests wait before it. 4 workers consume requests, 4 are known to \
            be busy, the longest since 2023-11-14T22:12:50.000Z. About 120 end in a minute.";
        assert_eq!(told.reasons, [Reason::new("waits-for-worker", expected)]);
        assert_eq!(told.begins, Some(Begins { at: at(5), is_estimate: true }));
        // Later attempts and runs stand behind those that came after.
        let again = Summary { run: 1, ..request(Status::Queued) };
        let told = waiting(&facts(again));
        assert!(told.reasons[0].text.contains("at most 39 requests wait before it"), "{told:?}");
        assert_eq!(told.begins.unwrap().at, at(20));
        let unknown = Facts { ended_per_second: Some(0.0), ..waits() };
        assert_eq!(waiting(&unknown).begins, None);
        assert_eq!(waiting(&Facts { ended_per_second: None, ..waits() }).begins, None);
        assert_eq!(waiting(&Facts { ended_per_second: Some(1e-6), ..waits() }).begins, None);
    }

    #[test]
    fn without_workers_nothing_is_estimated() {
        let none = Some(QueueCounts { waiting: 40, consumers: 0 });
        let idle = Facts { queue: none, work: WorkInHand::default(), ..waits() };
        assert_eq!((codes(&idle), waiting(&idle).begins), (vec!["no-worker"], None));
        // Of whatever type it is.
        let paused = Facts { suspects: 1, ..idle };
        assert_eq!((codes(&paused), waiting(&paused).begins), (vec!["workers-paused"], None));
        // They may be between two requests.
        assert_eq!(codes(&Facts { queue: none, ..waits() }), ["waits-for-worker"]);
    }

    #[test]
    fn the_type_is_named_unless_it_is_the_default_one() {
        let video = || Summary { kind: "video".into(), ..request(Status::Queued) };
        let told = waiting(&facts(video()));
        assert!(told.reasons[0].text.contains("4 workers consume requests of the type video"));
        let none = Some(QueueCounts { waiting: 40, consumers: 0 });
        let idle = Facts { queue: none, work: WorkInHand::default(), ..facts(video()) };
        let text = &waiting(&idle).reasons[0].text;
        assert!(text.contains("of the type video") && text.ends_with("TYPES=video."), "{text}");
        let gone = Facts { is_known_type: false, queue: None, ..facts(video()) };
        assert_eq!(codes(&gone), ["unknown-type"]);
    }

    #[test]
    fn a_request_that_is_in_no_queue_may_be_missing() {
        let empty = Some(QueueCounts { waiting: 0, consumers: 4 });
        assert_eq!(codes(&Facts { queue: empty, ..waits() }), ["may-be-missing"]);
        let fresh = Summary { accepted_at: Some(at(-1)), ..request(Status::Queued) };
        assert_eq!(codes(&Facts { queue: empty, ..facts(fresh) }), ["waits-for-worker"]);
    }

    #[test]
    fn a_broker_that_is_away_is_the_reason() {
        let away = Facts { broker_away: Some("connection refused".into()), ..waits() };
        assert_eq!((codes(&away), waiting(&away).begins), (vec!["broker-away"], None));
        assert!(waiting(&away).reasons[0].text.contains("connection refused"));
        assert_eq!(codes(&Facts { queue: None, ..waits() }), ["not-known"]);
    }

    #[test]
    fn a_request_that_waits_for_its_next_attempt_begins_at_its_time() {
        let retried = Summary {
            attempts: 2,
            last_error: Some("503 from upstream".into()),
            next_attempt_at: Some(at(90)),
            ..request(Status::Queued)
        };
        let told = waiting(&facts(retried.clone()));
        let expected =
            "Attempt 2 failed: 503 from upstream. Attempt 3 begins at 2023-11-14T22:14:50.000Z.";
        assert_eq!(told.reasons, [Reason::new("waits-for-time", expected)]);
        assert_eq!(told.begins, Some(Begins { at: at(90), is_estimate: false }));
        let away = Facts { broker_away: Some("x".into()), ..facts(retried) };
        assert_eq!(
            (codes(&away), waiting(&away).begins),
            (vec!["broker-away", "waits-for-time"], None)
        );
    }
}
