//! `setup --check`: what there is, compared with what there should be.

use pipeline::{
    broker::{Address, AskError, Declarer},
    topology::Topology,
};

use crate::{
    failure::Failure,
    report::{self, Report},
};

/// Compares everything and changes nothing: what exists is declared once more with our arguments,
/// which the broker answers without a change, or refuses because they differ.
pub(crate) async fn check(
    declarer: &mut Declarer,
    address: &Address,
    topology: &Topology,
    report: &mut Report,
) -> Result<(), Failure> {
    for exchange in &topology.exchanges {
        let failed =
            |error| Failure::of_ask(&format!("exchange {}", exchange.name), address, &error);
        let exists = declarer.exchange_exists(exchange).await.map_err(failed)?;
        let equal = if exists { Some(declarer.declare_exchange(exchange).await) } else { None };
        note(report, "exchange", &exchange.name, equal).map_err(failed)?;
    }
    for queue in &topology.queues {
        let failed = |error| Failure::of_ask(&format!("queue {}", queue.name), address, &error);
        let exists = declarer.queue_exists(queue).await.map_err(failed)?;
        let equal = if exists { Some(declarer.declare_queue(queue).await) } else { None };
        note(report, "queue", &queue.name, equal).map_err(failed)?;
        let binding = report::binding(queue);
        report.add("binding", &binding, "not checked (AMQP can't tell)");
    }
    Ok(())
}

fn note(
    report: &mut Report,
    kind: &str,
    name: &str,
    equal: Option<Result<(), AskError>>,
) -> Result<(), AskError> {
    match equal {
        None => report.differs(kind, name, "missing"),
        Some(Ok(())) => report.add(kind, name, "as it should be"),
        Some(Err(AskError::Refused { code: 406, text })) => {
            report.differs(kind, name, &format!("different: {text}"));
        }
        Some(Err(error)) => return Err(error),
    }
    Ok(())
}
