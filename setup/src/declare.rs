//! Connects to the broker, and declares or checks each exchange, queue and binding.

use pipeline::{
    broker::{Address, AskError, Declarer},
    topology::Topology,
};
use tracing::warn;

use crate::{
    failure::Failure,
    management::Bindings,
    report::{self, Report},
};

/// What to do with the topology.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode<'a> {
    /// Declare what is missing.
    Declare,
    /// Change nothing, and report what is missing or different. Which bindings there are is not always known.
    Check(Option<&'a Bindings>),
}

/// Connects to the first broker that accepts the connection.
pub(crate) async fn connect(addresses: &[Address]) -> Result<(Declarer, Address), Failure> {
    let mut last = None;
    for address in addresses {
        match Declarer::connect(address, "setup").await {
            Ok(declarer) => return Ok((declarer, address.clone())),
            Err(error) => {
                if addresses.len() > 1 {
                    warn!("{error}");
                }
                last = Some(Failure::of_open(&error));
            }
        }
    }
    Err(last.unwrap_or_else(|| Failure::Unreachable("no broker was named".to_owned())))
}

/// Declares or checks the whole topology, and reports each object.
///
/// A check declares what exists again, with our arguments: the broker accepts that without a change,
/// or refuses it because they differ.
pub(crate) async fn run(
    mode: Mode<'_>,
    declarer: &mut Declarer,
    address: &Address,
    topology: &Topology,
    report: &mut Report,
) -> Result<(), Failure> {
    for exchange in &topology.exchanges {
        let failed =
            |error| Failure::of_ask(&format!("exchange {}", exchange.name), address, &error);
        let exists = declarer.exchange_exists(exchange).await.map_err(failed)?;
        let declared = match mode.declares(exists) {
            true => Some(declarer.declare_exchange(exchange).await),
            false => None,
        };
        mode.add(report, "exchange", &exchange.name, exists, declared).map_err(failed)?;
    }
    for queue in &topology.queues {
        let failed = |error| Failure::of_ask(&format!("queue {}", queue.name), address, &error);
        let exists = declarer.queue_exists(queue).await.map_err(failed)?;
        let declared = match mode.declares(exists) {
            true => Some(declarer.declare_queue(queue).await),
            false => None,
        };
        mode.add(report, "queue", &queue.name, exists, declared).map_err(failed)?;
        for binding in &queue.bindings {
            let row = report::binding(queue, binding);
            let failed = |error| Failure::of_ask(&format!("binding {row}"), address, &error);
            match mode {
                Mode::Declare => {
                    declarer.bind(&queue.name, binding).await.map_err(failed)?;
                    report.add("binding", &row, "bound");
                }
                Mode::Check(None) => report.add("binding", &row, "not checked"),
                Mode::Check(Some(bindings)) if bindings.has(&queue.name, binding) => {
                    report.add("binding", &row, "as expected");
                }
                Mode::Check(Some(_)) => report.differs("binding", &row, "missing"),
            }
        }
    }
    Ok(())
}

impl Mode<'_> {
    /// Whether an object is declared: a check does so only to compare it with one that exists.
    fn declares(self, exists: bool) -> bool {
        matches!(self, Self::Declare) || exists
    }

    /// Reports an object. `declared` is the broker's answer, if the object was declared.
    fn add(
        self,
        report: &mut Report,
        kind: &str,
        name: &str,
        exists: bool,
        declared: Option<Result<(), AskError>>,
    ) -> Result<(), AskError> {
        match (self, declared) {
            (Self::Check(_), None) => report.differs(kind, name, "missing"),
            (Self::Check(_), Some(Err(AskError::Refused { code: 406, text }))) => {
                report.differs(kind, name, &format!("different: {text}"));
            }
            (_, Some(Err(error))) => return Err(error),
            (Self::Check(_), Some(Ok(()))) => report.add(kind, name, "as expected"),
            (Self::Declare, _) if exists => report.add(kind, name, "exists"),
            (Self::Declare, _) => report.add(kind, name, "created"),
        }
        Ok(())
    }
}
