//! VIP notifications: three small services on the broker layer of Slowlane.
//!
//! The *account service* answers who an account belongs to, and notifies when a VIP's account is read. The *VIP
//! service* receives these notifications and makes an offer. The *config service* has the settings of both, and tells
//! them when to load them anew. The README has the picture and the commands.

pub mod account_service;
pub mod config_service;
pub mod log_messages;
pub mod vip_service;

mod account_store;
mod config_client;
mod http;
mod notification;
mod offer_store;
mod program;
mod refresh;
mod settings;
