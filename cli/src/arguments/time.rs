//! Times as arguments.

use std::time::SystemTime;

/// A time, or how long ago it was. Times before 1970 can't be written as text.
pub(crate) fn time(text: &str) -> Result<SystemTime, &'static str> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(time);
    }
    let ago = humantime::parse_duration(text)
        .map_err(|_| "a duration like 2h, or a time in UTC like 2026-11-21T09:00:00Z")?;
    let time = SystemTime::now().checked_sub(ago);
    time.filter(|time| *time >= SystemTime::UNIX_EPOCH).ok_or("too long ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_before_1970_is_refused_because_it_cannot_be_written() {
        for text in ["60y", "1000y", "99999999999y"] {
            assert_eq!(time(text), Err("too long ago"), "{text}");
        }
        assert!(time("2h").is_ok());
        assert!(time("1970-01-01T00:00:00Z").is_ok());
    }
}
