//! What `setup` does: connect, and declare what the programs need.

use pipeline::{
    broker::{Address, Declarer},
    topology::Topology,
};
use tracing::warn;

use crate::{
    failure::Failure,
    report::{self, Report},
};

/// Connects to the first of the brokers that lets us in.
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

/// Declares everything. What exists just so is left as it is.
pub(crate) async fn declare(
    declarer: &mut Declarer,
    address: &Address,
    topology: &Topology,
    report: &mut Report,
) -> Result<(), Failure> {
    for exchange in &topology.exchanges {
        let failed =
            |error| Failure::of_ask(&format!("exchange {}", exchange.name), address, &error);
        let existed = declarer.exchange_exists(exchange).await.map_err(failed)?;
        declarer.declare_exchange(exchange).await.map_err(failed)?;
        report.add("exchange", &exchange.name, state(existed));
    }
    for queue in &topology.queues {
        let failed = |error| Failure::of_ask(&format!("queue {}", queue.name), address, &error);
        let existed = declarer.queue_exists(queue).await.map_err(failed)?;
        declarer.declare_queue(queue).await.map_err(failed)?;
        report.add("queue", &queue.name, state(existed));
        let binding = report::binding(queue);
        let failed = |error| Failure::of_ask(&format!("binding {binding}"), address, &error);
        declarer.bind(queue).await.map_err(failed)?;
        report.add("binding", &binding, "bound");
    }
    Ok(())
}

fn state(existed: bool) -> &'static str {
    if existed { "exists as it should" } else { "created" }
}
