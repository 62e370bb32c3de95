//! What the ledger makes of good and of broken promises.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Kind, Ledger, View};
use crate::soak::plan::{Callback, MAX_DELIVERIES, Request, Work};

const SUCCEED: Work = Work::Succeed { time: Duration::from_millis(20), failures: 1 };

fn ledger(work: Work, callback: Callback) -> (Ledger, Request) {
    let request = Request { number: 0, work, callback, expires: false };
    let mut ledger = Ledger::default();
    ledger.planned(std::slice::from_ref(&request));
    ledger.accepted(0, Uuid::nil());
    (ledger, request)
}

/// The request as completed, with some of its fields replaced.
fn view(request: &Request, other: Value) -> View {
    let mut view = json!({
        "requestId": Uuid::nil(), "status": "completed", "run": 0, "attempts": 2, "deliveries": 1,
        "finishedAt": "2026-11-21T09:54:28.002Z", "processingResults": request.data(),
    });
    let fields = other.as_object().cloned().unwrap_or_default();
    view.as_object_mut().unwrap().extend(fields);
    serde_json::from_value(view).unwrap()
}

fn failed(code: &str, message: &str, attempts: i64) -> Value {
    let error = json!({"code": code, "message": message});
    json!({"status": "failed", "attempts": attempts, "error": error, "processingResults": null})
}

fn kinds(ledger: &Ledger) -> Vec<Kind> {
    ledger.findings().iter().map(|finding| finding.kind).collect()
}

#[test]
fn a_request_that_ends_as_ordered_is_no_finding() {
    let (mut ledger, request) = ledger(SUCCEED, Callback::None);
    assert_eq!(ledger.waiting(), [(0, Uuid::nil())]);
    ledger.looked(0, &view(&request, json!({"status": "queued"})));
    assert_eq!((ledger.waiting().len(), kinds(&ledger)), (1, vec![Kind::Stuck]));
    ledger.looked(0, &view(&request, json!({})));
    ledger.looked(0, &view(&request, json!({})));
    assert_eq!((ledger.waiting().len(), kinds(&ledger)), (0, vec![]));
}

#[test]
fn failures_that_were_ordered_are_no_findings() {
    for (work, code, attempts) in
        [(Work::Reject, "permanent", 1), (Work::Fail, "attempts_exhausted", 3)]
    {
        let (mut ledger, request) = ledger(work, Callback::None);
        let message = format!("{} 3", request.complaint());
        ledger.looked(0, &view(&request, failed(code, &message, attempts)));
        assert_eq!(ledger.findings(), []);
    }
}

#[test]
fn an_end_that_is_undone_is_wrong_once_wherever_it_is_shown() {
    let (mut ledger, request) = ledger(SUCCEED, Callback::None);
    let open = view(&request, json!({"status": "queued", "finishedAt": null}));
    ledger.looked(0, &view(&request, json!({})));
    ledger.listed(&open);
    ledger.looked(0, &open);
    ledger.looked(0, &view(&request, json!({})));
    assert_eq!((ledger.waiting().len(), kinds(&ledger)), (0, vec![Kind::Wrong]));
}

#[test]
fn a_request_that_a_list_lacks_is_lost() {
    let (mut ledger, request) = ledger(SUCCEED, Callback::None);
    ledger.looked(0, &view(&request, json!({})));
    ledger.listed_all(&[Uuid::nil()].into());
    assert_eq!(kinds(&ledger), []);
    ledger.listed_all(&[].into());
    assert_eq!(kinds(&ledger), [Kind::Lost]);
}

#[test]
fn an_end_that_was_not_ordered_is_wrong() {
    let others = [
        failed("poison", "its workers died", 2),
        json!({"status": "cancelled"}),
        json!({"attempts": 3}),
        json!({"run": 1}),
        json!({"processingResults": {"number": 1}}),
    ];
    for other in others {
        let (mut ledger, request) = ledger(SUCCEED, Callback::None);
        ledger.looked(0, &view(&request, other.clone()));
        assert_eq!(kinds(&ledger), [Kind::Wrong], "{other}");
    }
}

#[test]
fn an_end_that_changes_is_wrong() {
    let (mut ledger, request) = ledger(SUCCEED, Callback::None);
    ledger.looked(0, &view(&request, json!({})));
    ledger.listed(&view(&request, json!({"finishedAt": "2026-11-21T09:55:00.000Z"})));
    assert_eq!(kinds(&ledger), [Kind::Wrong]);
}

#[test]
fn what_nobody_knows_any_more_is_lost_once() {
    let (mut ledger, _) = ledger(SUCCEED, Callback::Taken);
    ledger.missing(0, "404");
    ledger.missing(0, "404");
    assert_eq!((ledger.waiting().len(), kinds(&ledger)), (0, vec![Kind::Lost]));
}

#[test]
fn a_key_has_one_id_and_an_id_one_request() {
    let (mut ledger, request) = ledger(SUCCEED, Callback::None);
    ledger.looked(0, &view(&request, json!({})));
    ledger.accepted(0, Uuid::nil());
    assert_eq!(ledger.findings(), []);
    ledger.accepted(0, Uuid::max());
    assert_eq!(kinds(&ledger), [Kind::Wrong]);
}

#[test]
fn what_is_never_accepted_is_stuck() {
    let mut ledger = Ledger::default();
    let request = Request { number: 0, work: SUCCEED, callback: Callback::None, expires: true };
    ledger.planned(&[request]);
    assert_eq!(kinds(&ledger), [Kind::Stuck]);
}

#[test]
fn a_listed_request_that_nobody_posted_is_wrong() {
    let (_, request) = ledger(SUCCEED, Callback::None);
    let mut empty = Ledger::default();
    empty.listed(&view(&request, json!({})));
    assert_eq!(kinds(&empty), [Kind::Wrong]);
}

#[test]
fn a_callback_may_come_again_and_has_to_come_at_least_once() {
    let (mut ledger, request) = ledger(SUCCEED, Callback::RefusedOnce);
    ledger.looked(0, &view(&request, json!({})));
    assert_eq!((ledger.waiting().len(), kinds(&ledger)), (1, vec![Kind::Lost]));
    let id = format!("{}-0-completed", Uuid::nil());
    assert!(!ledger.told(0, &id, &view(&request, json!({}))));
    assert_eq!(ledger.waiting().len(), 1);
    assert!(ledger.told(0, &id, &view(&request, json!({}))));
    assert!(ledger.told(0, &id, &view(&request, json!({}))));
    assert_eq!((ledger.waiting().len(), ledger.findings()), (0, vec![]));
}

#[test]
fn a_callback_that_tells_something_else_is_wrong() {
    let right = format!("{}-0-completed", Uuid::nil());
    let others = [
        (right.as_str(), json!({"finishedAt": "2026-11-21T09:55:00.000Z"})),
        (right.as_str(), json!({"requestId": Uuid::max()})),
        (right.as_str(), json!({"processingResults": "something else"})),
        ("another", json!({})),
    ];
    for (id, other) in others {
        let (mut ledger, request) = ledger(SUCCEED, Callback::Taken);
        ledger.looked(0, &view(&request, json!({})));
        ledger.told(0, id, &view(&request, other.clone()));
        assert_eq!(kinds(&ledger), [Kind::Wrong], "{other}");
    }
}

#[test]
fn a_wrong_end_that_a_callback_tells_too_is_one_finding() {
    let (mut ledger, request) = ledger(SUCCEED, Callback::Taken);
    let poison = view(&request, failed("poison", "its workers died", 1));
    ledger.told(0, &format!("{}-0-failed", Uuid::nil()), &poison);
    ledger.looked(0, &poison);
    assert_eq!(kinds(&ledger), [Kind::Wrong]);
}

#[test]
fn poison_is_right_for_a_request_whose_workers_died_as_often_as_they_may() {
    let (mut ledger, request) = ledger(SUCCEED, Callback::Taken);
    let poison = view(&request, failed("poison", "its workers died", 1));
    ledger.told(0, &format!("{}-0-failed", Uuid::nil()), &poison);
    ledger.looked(0, &poison);
    (1..MAX_DELIVERIES).for_each(|_| ledger.worker_died(Uuid::nil()));
    assert_eq!((kinds(&ledger), ledger.poisonous_count()), (vec![Kind::Wrong], 0));
    ledger.worker_died(Uuid::nil());
    assert_eq!((kinds(&ledger), ledger.poisonous_count()), (vec![], 1));
}
