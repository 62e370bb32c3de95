//! Log messages that tests and operators search for: each phrase stands here once.

/// A program has loaded its settings (`logLevel`, `vips`).
pub const SETTINGS_LOADED: &str = "loaded the settings";
/// The account of a VIP was read; the message waits to be published (`accountId`), at level debug.
pub const NOTIFYING: &str = "notifying of a VIP";
/// The VIP service has received a notification (`accountId`, `readAt`).
pub const NOTIFIED: &str = "the account of a VIP was read";
/// The VIP service has made an offer, the first one of that day for the account (`accountId`, `day`).
pub const OFFER_MADE: &str = "made an offer";
/// The config service has told the instances of an app to load their settings anew (`app`).
pub const REFRESHED: &str = "told all instances to load their settings";
