//! Times as arguments.

use std::time::SystemTime;

/// A time, or how long ago it was.
pub(crate) fn time(text: &str) -> Result<SystemTime, &'static str> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(time);
    }
    let ago = humantime::parse_duration(text)
        .map_err(|_| "a duration like 2h, or a time in UTC like 2026-11-21T09:00:00Z")?;
    SystemTime::now().checked_sub(ago).ok_or("too long ago")
}
