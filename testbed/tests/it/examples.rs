//! The examples of other systems on the broker layer, end to end: each with its own broker, ports and databases.

mod vip_notifications;
