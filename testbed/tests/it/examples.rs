//! The examples of other systems on the broker layer, end to end: each with its own broker, ports and databases.

mod catalogue_sync;
mod profile_updates;
mod readmes;
mod service;
mod slow;
mod thumbnails;
mod vip_notifications;
