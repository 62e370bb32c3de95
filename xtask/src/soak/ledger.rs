//! The ledger: what was posted, what was promised for it, what came of it, and what of that is wrong. Pure.

mod expected;
mod finding;
mod view;

use std::collections::{BTreeMap, HashMap, HashSet};

use self::expected::Difference;
pub(super) use self::{
    finding::{Finding, Kind},
    view::{End, View},
};
use super::plan::{Callback, MAX_DELIVERIES, Request};
use uuid::Uuid;

/// Everything that is known of a run.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By number.
    entries: Vec<Entry>,
    numbers: HashMap<Uuid, usize>,
    findings: Vec<Finding>,
    /// How often each kind of answer came to a POST.
    pub(super) answers: BTreeMap<String, u64>,
    /// How many callbacks were taken, those that came again among them.
    pub(super) callbacks: u64,
    /// Rises with everything that gets nearer to its end.
    pub(super) progress: u64,
}

/// One request.
#[derive(Debug)]
struct Entry {
    request: Request,
    id: Option<Uuid>,
    /// Callbacks that were refused once and have to come again.
    refused: bool,
    told: Vec<Told>,
    state: State,
    /// How many processes died while they had it in flight.
    deaths: u32,
    /// It was shown as open after its end, which was entered.
    undone: bool,
    /// What is wrong with its end, as the API shows it.
    difference: Option<Difference>,
    /// What the API last said of its callback.
    callback: Option<String>,
}

/// What the API said of a request.
#[derive(Debug)]
enum State {
    /// Nothing yet, or that it has not ended.
    Open(String),
    Ended(End),
    /// It is not known.
    Gone,
}

/// A callback that came and was taken.
#[derive(Debug)]
struct Told {
    /// `webhook-id`.
    id: String,
    request: Uuid,
    end: Option<End>,
    /// What is wrong with the end that it tells.
    difference: Option<Difference>,
}

impl Ledger {
    /// A call with these requests is about to be made. They come in the order of their numbers.
    pub(super) fn planned(&mut self, requests: &[Request]) {
        self.entries.extend(requests.iter().cloned().map(Entry::new));
    }

    /// A POST was answered like this.
    pub(super) fn answered(&mut self, answer: impl Into<String>) {
        *self.answers.entry(answer.into()).or_default() += 1;
    }

    /// A request was answered with 202 and this id.
    pub(super) fn accepted(&mut self, number: usize, id: Uuid) {
        match self.entries[number].id.replace(id) {
            None => self.progress += 1,
            Some(before) if before == id => {}
            Some(before) => {
                self.found(Kind::Wrong, number, format!("its key stood for {before} before"))
            }
        }
        if *self.numbers.entry(id).or_insert(number) != number {
            self.found(Kind::Wrong, number, "another request has the same id".to_owned());
        }
    }

    /// How many requests were accepted.
    pub(super) fn accepted_count(&self) -> usize {
        self.entries.iter().filter(|entry| entry.id.is_some()).count()
    }

    /// A callback came for the request with this number. Tells whether the receiver takes it.
    pub(super) fn told(&mut self, number: usize, webhook_id: &str, view: &View) -> bool {
        let Some(entry) = self.entries.get_mut(number) else {
            self.fault(format!("a callback came for number {number}, which was never posted"));
            return true;
        };
        self.progress += 1;
        if entry.request.callback == Callback::RefusedOnce && !entry.refused {
            entry.refused = true;
            return false;
        }
        self.callbacks += 1;
        entry.told.push(Told {
            id: webhook_id.to_owned(),
            request: view.request_id,
            end: view.end(),
            difference: expected::difference(&entry.request, view),
        });
        true
    }

    /// The API shows the request like this.
    pub(super) fn looked(&mut self, number: usize, view: &View) {
        let entry = &mut self.entries[number];
        entry.callback = view.callback.as_ref().map(ToString::to_string);
        let Some(end) = view.end() else {
            return self.open(number, view);
        };
        entry.difference = expected::difference(&entry.request, view);
        self.ended(number, end);
    }

    /// The API does not know the request, or any more.
    pub(super) fn missing(&mut self, number: usize, text: &str) {
        if !matches!(self.entries[number].state, State::Gone) {
            self.entries[number].state = State::Gone;
            self.progress += 1;
            self.found(Kind::Lost, number, text.to_owned());
        }
    }

    /// The list of all requests has this one.
    pub(super) fn listed(&mut self, view: &View) {
        match (self.numbers.get(&view.request_id), view.end()) {
            (None, _) => {
                self.fault(format!("{} is listed, but nobody got its id: {view}", view.request_id))
            }
            (Some(number), Some(end)) => self.ended(*number, end),
            (Some(number), None) => self.open(*number, view),
        }
    }

    /// These requests were the whole list of a web service.
    pub(super) fn listed_all(&mut self, ids: &HashSet<Uuid>) {
        let left_out = self.entries.iter().filter(|entry| {
            entry.id.is_some_and(|id| !ids.contains(&id)) && !matches!(entry.state, State::Gone)
        });
        let numbers: Vec<_> = left_out.map(|entry| entry.request.number).collect();
        for number in numbers {
            self.found(Kind::Lost, number, "a list of all requests lacks it".to_owned());
        }
    }

    /// A process died that had this request in flight.
    pub(super) fn worker_died(&mut self, id: Uuid) {
        if let Some(number) = self.numbers.get(&id) {
            self.entries[*number].deaths += 1;
        }
    }

    /// How many requests killed, as it seems, so many processes that they are parked rightly.
    pub(super) fn poisonous_count(&self) -> usize {
        self.entries.iter().filter(|entry| entry.is_poisonous()).count()
    }

    /// What is not about one request went wrong.
    pub(super) fn fault(&mut self, text: String) {
        self.findings.push(Finding { kind: Kind::Wrong, request: None, text });
    }

    /// What went wrong with one request.
    pub(super) fn found(&mut self, kind: Kind, number: usize, text: String) {
        let id = self.entries[number].id;
        self.findings.push(Finding { kind, request: Some((number, id)), text });
    }

    /// The accepted requests of which something is still to come: their end, or their callback.
    pub(super) fn waiting(&self) -> Vec<(usize, Uuid)> {
        let waiting = self.entries.iter().filter(|entry| entry.is_waiting());
        waiting.filter_map(|entry| Some((entry.request.number, entry.id?))).collect()
    }

    /// All that is wrong, if nothing more is to come.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let at_the_end = self.entries.iter().flat_map(|entry| {
            let request = Some((entry.request.number, entry.id));
            entry.faults().into_iter().map(move |(kind, text)| Finding { kind, request, text })
        });
        let mut all: Vec<_> = self.findings.iter().cloned().chain(at_the_end).collect();
        all.sort_by_key(|finding| finding.kind);
        all
    }

    /// Takes note of a request that has not ended. An end is for good.
    fn open(&mut self, number: usize, view: &View) {
        let entry = &mut self.entries[number];
        match &entry.state {
            State::Ended(end) if !entry.undone => {
                let text = format!("ended {end}, then was shown as {view}");
                entry.undone = true;
                self.found(Kind::Wrong, number, text);
            }
            State::Ended(_) | State::Gone => {}
            State::Open(_) => entry.state = State::Open(view.to_string()),
        }
    }

    /// Takes note of an end, which has to be the same each time.
    fn ended(&mut self, number: usize, end: End) {
        match &self.entries[number].state {
            State::Ended(before) if *before != end => {
                let text = format!("ended twice: {before}, then {end}");
                self.found(Kind::Wrong, number, text);
            }
            State::Ended(_) | State::Gone => {}
            State::Open(_) => {
                self.entries[number].state = State::Ended(end);
                self.progress += 1;
            }
        }
    }
}

impl Entry {
    fn new(request: Request) -> Self {
        let state = State::Open("never shown".to_owned());
        let (told, difference, callback) = (Vec::new(), None, None);
        let (refused, undone) = (false, false);
        Self { request, id: None, refused, told, state, deaths: 0, undone, difference, callback }
    }

    fn is_waiting(&self) -> bool {
        match self.state {
            State::Open(_) => true,
            State::Ended(_) => self.lacks_callback(),
            State::Gone => false,
        }
    }

    fn lacks_callback(&self) -> bool {
        self.request.callback != Callback::None && self.told.is_empty()
    }

    /// What is wrong if nothing more is to come.
    fn faults(&self) -> Vec<(Kind, String)> {
        let Some(id) = self.id else {
            return vec![(Kind::Stuck, "was never accepted".to_owned())];
        };
        let end = match &self.state {
            State::Open(view) => return vec![(Kind::Stuck, format!("has not ended: {view}"))],
            State::Gone => return Vec::new(),
            State::Ended(end) => end,
        };
        let mut faults = Vec::new();
        // What is wrong with the end is told by its callbacks too, and is one fault.
        let own = self.difference.as_ref().and_then(|difference| self.fault(difference));
        let told = || self.told.iter().find_map(|told| self.fault_of_callback(told, id, end));
        faults.extend(own.or_else(told).map(|text| (Kind::Wrong, text)));
        if self.lacks_callback() {
            let shown = self.callback.as_deref().unwrap_or("none");
            faults.push((Kind::Lost, format!("its callback never came; the API shows: {shown}")));
        }
        faults
    }

    /// A difference is none if it is what was promised for what happened: whatever kills its workers is parked.
    fn fault(&self, difference: &Difference) -> Option<String> {
        let promised = difference.poison && self.deaths >= MAX_DELIVERIES;
        (!promised).then(|| format!("{}; {} of its workers died", difference.text, self.deaths))
    }

    fn fault_of_callback(&self, told: &Told, id: Uuid, end: &End) -> Option<String> {
        let expected = format!("{id}-{}-{}", end.run, end.status);
        if told.id != expected || told.request != id || told.end.as_ref() != Some(end) {
            let other = told.end.as_ref().map_or("no end".to_owned(), ToString::to_string);
            return Some(format!("ended {end}, but callback {} told {other}", told.id));
        }
        let fault = self.fault(told.difference.as_ref()?)?;
        Some(format!("its callback: {fault}"))
    }

    fn is_poisonous(&self) -> bool {
        let poison = self.difference.as_ref().is_some_and(|difference| difference.poison);
        poison && self.deaths >= MAX_DELIVERIES
    }
}

#[cfg(test)]
mod tests;
