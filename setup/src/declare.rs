//! Connects to the broker, and declares or checks each exchange, queue and binding.

use pipeline::{
    broker::{Address, AskError, Declarer},
    topology::Topology,
};
use tracing::warn;

use crate::{
    failure::Failure,
    report::{self, Report},
};

/// What to do with the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Declare what is missing.
    Declare,
    /// Change nothing, and report what is missing or different.
    Check,
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
    mode: Mode,
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
            if mode == Mode::Check {
                report.add("binding", &row, "not checked (AMQP can't tell)");
                continue;
            }
            let failed = |error| Failure::of_ask(&format!("binding {row}"), address, &error);
            declarer.bind(&queue.name, binding).await.map_err(failed)?;
            report.add("binding", &row, "bound");
        }
    }
    Ok(())
}

impl Mode {
    /// Whether an object is declared: a check does so only to compare it with one that exists.
    fn declares(self, exists: bool) -> bool {
        self == Self::Declare || exists
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
            (Self::Check, None) => report.differs(kind, name, "missing"),
            (Self::Check, Some(Err(AskError::Refused { code: 406, text }))) => {
                report.differs(kind, name, &format!("different: {text}"));
            }
            (_, Some(Err(error))) => return Err(error),
            (Self::Check, Some(Ok(()))) => report.add(kind, name, "as expected"),
            (Self::Declare, _) if exists => report.add(kind, name, "exists"),
            (Self::Declare, _) => report.add(kind, name, "created"),
        }
        Ok(())
    }
}
