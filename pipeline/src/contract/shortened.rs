//! Long texts, shortened in the middle: an error says at its beginning what failed, and often at its end why.

use std::borrow::Cow;

/// Stands for what was left out.
const GAP: &str = " … ";

/// The text, or the beginning and the end of one that is longer than `max_bytes`.
pub fn shortened(text: &str, max_bytes: usize) -> Cow<'_, str> {
    if text.len() <= max_bytes {
        return Cow::Borrowed(text);
    }
    let room = max_bytes.saturating_sub(GAP.len());
    // Half of it: errors of one kind begin alike, and are told from others by that.
    let beginning = &text[..text.floor_char_boundary(room / 2)];
    let end = &text[text.ceil_char_boundary(text.len() - (room - beginning.len()))..];
    Cow::Owned([beginning, GAP, end].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        let text = format!("exit code 1: {}the reason", "ü".repeat(3000));
        let short = shortened(&text, 2000);
        assert!(short.starts_with("exit code 1: ü"), "{short}");
        assert!(short.ends_with("üthe reason"), "{short}");
        assert!((1997..=2000).contains(&short.len()), "{}", short.len());
        assert_eq!(shortened(&short, 2000), short);
        assert_eq!(shortened("short", 5), "short");
    }
}
