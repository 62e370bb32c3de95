//! Messages: what the services tell each other. The routing key, also in the property `type`, says which one it is.

use pipeline::contract::Message;
use serde::{Deserialize, Serialize};

use crate::topology::{ANNOUNCEMENTS, ROLLBACK, UPDATE, USER_UPDATES};

/// `user.profile.update`: a user has a new name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    /// The user's id.
    pub user_id: String,
    /// The new name.
    pub full_name: String,
    /// Counts the updates of this user: of two, the one with the higher version is right, whichever comes last.
    pub version: i64,
}

/// `user.profile.rollback`: a follower has refused an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// The user's id.
    pub user_id: String,
    /// The refused version.
    pub version: i64,
    /// Why it was refused, for people.
    pub reason: String,
}

/// A message to everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// What is announced.
    pub text: String,
}

impl Update {
    /// The message.
    pub fn message(&self) -> Message {
        Message::json(USER_UPDATES, UPDATE, self).with_type(UPDATE)
    }
}

impl Rollback {
    /// The message.
    pub fn message(&self) -> Message {
        Message::json(USER_UPDATES, ROLLBACK, self).with_type(ROLLBACK)
    }
}

impl Announcement {
    /// The property `type` of the message.
    pub const TYPE: &str = "announcement";

    /// The message. A fanout exchange ignores the routing key.
    pub fn message(&self) -> Message {
        Message::json(ANNOUNCEMENTS, "", self).with_type(Self::TYPE)
    }
}
