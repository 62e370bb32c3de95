//! The pattern of an error message: what it has in common with others of its kind. Numbers, ids, paths and quoted texts
//! are replaced by placeholders.

/// How much of a message is looked at.
const MAX_MESSAGE_CHARS: usize = 2000;
/// The longest pattern.
const MAX_PATTERN_CHARS: usize = 300;
/// The longest quoted text; a quotation mark without another one so near is a character like any other.
const MAX_QUOTED_CHARS: usize = 300;
/// The shortest word of hexadecimal digits that is taken for an id.
const MIN_HEX_CHARS: usize = 7;

/// The pattern of an error message.
pub fn error_pattern(message: &str) -> String {
    let text: Vec<char> = message.chars().take(MAX_MESSAGE_CHARS).collect();
    let (mut pattern, mut at) = (String::new(), 0);
    while at < text.len() {
        let before = at.checked_sub(1).map(|before| text[before]);
        let rest = &text[at..];
        let (length, part) = match rest[0] {
            blank if blank.is_whitespace() || blank.is_control() => (1, " ".to_owned()),
            quote @ ('"' | '\'' | '`') if !before.is_some_and(char::is_alphanumeric) => {
                quoted(quote, &rest[1..]).unwrap_or((1, quote.to_string()))
            }
            character if is_in_word(character) => {
                let length = rest.iter().take_while(|it| is_in_word(**it)).count();
                (length, word(&rest[..length].iter().collect::<String>()))
            }
            character => (1, character.to_string()),
        };
        at += length;
        if part != " " || !pattern.ends_with(' ') {
            pattern += &part;
        }
    }
    pattern.trim().chars().take(MAX_PATTERN_CHARS).collect()
}

fn is_in_word(character: char) -> bool {
    character.is_alphanumeric() || "_-./\\:@+%~#=&?".contains(character)
}

/// The placeholder of a quoted text, and how many characters it and its quotation marks have. Names of code in backticks
/// stay.
fn quoted(quote: char, rest: &[char]) -> Option<(usize, String)> {
    let is_end = |at: &usize| {
        rest[*at] == quote && !rest.get(at + 1).is_some_and(|next| next.is_alphanumeric())
    };
    let end = (0..rest.len().min(MAX_QUOTED_CHARS)).find(is_end)?;
    let text: String = rest[..end].iter().collect();
    let is_name = quote == '`' && text.chars().all(|it| it.is_ascii_alphabetic() || it == '_');
    let part = match text {
        name if is_name => format!("`{name}`"),
        path if path.contains(['/', '\\']) => "<path>".to_owned(),
        _ => "<text>".to_owned(),
    };
    Some((end + 2, part))
}

/// A word without what is different in each message. Punctuation at its end is no part of it.
fn word(word: &str) -> String {
    let trimmed = word.trim_end_matches(['.', ':', '?', '-', '=']);
    let end = &word[trimmed.len()..];
    format!("{}{end}", placeholder(trimmed).map_or_else(|| parts(trimmed), str::to_owned))
}

/// The placeholder of a whole word, if it is of a kind that has one.
fn placeholder(word: &str) -> Option<&'static str> {
    let has_digit = word.contains(|it: char| it.is_ascii_digit());
    let begins_as_path = ["/", "./", "../", "~/", "\\\\"].iter().any(|it| word.starts_with(it));
    let is_on_drive = word.get(1..3) == Some(":\\");
    let slashes = word.matches(['/', '\\']).count();
    if word.contains("://") {
        return Some("<url>");
    }
    if (begins_as_path && word.len() > 1)
        || is_on_drive
        || slashes > 1
        || (slashes > 0 && has_digit)
    {
        return Some("<path>");
    }
    if word.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.')) {
        return Some("<address>");
    }
    uuid::Uuid::try_parse(word).is_ok().then_some("<id>")
}

/// The parts of a word, between its punctuation marks, each without its digits.
fn parts(word: &str) -> String {
    let mut parts = String::new();
    for part in word.split_inclusive(|it: char| !it.is_alphanumeric()) {
        let name = part.trim_end_matches(|it: char| !it.is_alphanumeric());
        let mark = &part[name.len()..];
        // 1.5, 10:30 and 2026-11-21 are one number, each.
        let continues = name.starts_with(|it: char| it.is_ascii_digit())
            && parts.strip_suffix(['.', ':', '-']).is_some_and(|it| it.ends_with("<n>"));
        if continues {
            parts.truncate(parts.len() - "<n>".len() - 1);
        }
        parts += &without_digits(name);
        parts += mark;
    }
    parts
}

/// A part of a word with a placeholder for each number in it, or for all of it if it looks like an id.
fn without_digits(part: &str) -> String {
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 {
        return part.to_owned();
    }
    let hex = part.strip_prefix("0x").unwrap_or(part);
    let is_hex = hex.bytes().all(|it| it.is_ascii_hexdigit()) && digits < hex.len();
    let kinds: Vec<bool> = part.chars().map(|it| it.is_ascii_digit()).collect();
    let changes = kinds.windows(2).filter(|pair| pair[0] != pair[1]).count();
    if hex.len() < part.len() || (is_hex && hex.len() >= MIN_HEX_CHARS) || changes > 2 {
        return "<id>".to_owned();
    }
    let mut text = String::new();
    for character in part.chars() {
        match character.is_ascii_digit() {
            true if text.ends_with("<n>") => {}
            true => text += "<n>",
            false => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_different_in_each_message_is_replaced() {
        for (message, pattern) in [
            ("", ""),
            ("no space left on device", "no space left on device"),
            ("order 4711 not found", "order <n> not found"),
            ("exit code 3.", "exit code <n>."),
            ("took 1.5s, limit 30s", "took <n>s, limit <n>s"),
            ("-7 is negative", "-<n> is negative"),
            ("at 2026-11-21T09:54:22.988Z", "at <n>T<n>Z"),
            ("on 2026-11-21 10:30:59", "on <n> <n>"),
            ("10.0.0.17:5672 refused", "<n> refused"),
            ("host-12.example:5672 refused", "host-<n>.example:<n> refused"),
            ("request 01a1fd87-448c-755a-a380-a6f598ec5ae1 failed", "request <id> failed"),
            ("request {01a1fd87448c755aa380a6f598ec5ae1}", "request {<id>}"),
            ("commit 3f2a9bc is bad", "commit <id> is bad"),
            ("decade facade", "decade facade"),
            ("pointer 0xdeadbeef", "pointer <id>"),
            ("key a1b2c3d4 expired", "key <id> expired"),
            ("utf8 and v7 and sha256", "utf<n> and v<n> and sha<n>"),
            ("no such file '/tmp/a b.txt'", "no such file <path>"),
            ("no such file /tmp/a1.txt: gone", "no such file <path>: gone"),
            ("C:\\Temp\\a is missing", "<path> is missing"),
            ("read/write error", "read/write error"),
            ("GET https://example.org/a?b=1: 503", "GET <url>: <n>"),
            ("mail to a.b@example.org bounced", "mail to <address> bounced"),
            ("user 'alice' can't log in, it's late", "user <text> can't log in, it's late"),
            ("user \"bob\" can't log in", "user <text> can't log in"),
            (
                "missing field `data` at line 1 column 7",
                "missing field `data` at line <n> column <n>",
            ),
            ("a 'quote that never ends", "a 'quote that never ends"),
            ("a\n  b\t\tc\0d", "a b c d"),
            ("größer als 7 µm", "größer als <n> µm"),
            ("\u{661}\u{662} is no ASCII digit", "\u{661}\u{662} is no ASCII digit"),
        ] {
            assert_eq!(error_pattern(message), pattern, "{message}");
        }
    }

    #[test]
    fn a_pattern_stays_as_it_is_and_is_bounded() {
        for text in ["'".repeat(5000), "1".repeat(5000), "a/".repeat(5000), "ä \"x\" ".repeat(2000)]
        {
            let pattern = error_pattern(&text);
            assert!(pattern.chars().count() <= MAX_PATTERN_CHARS, "{text:.20}");
        }
    }
}
