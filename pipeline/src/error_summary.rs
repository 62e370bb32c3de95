//! Error summary: the error of a request on one line, which keeps the reason that a traceback ends with.

/// The line before a traceback says nothing.
const TRACEBACK: &str = "Traceback (most recent call last):";
/// Stands for what is left out.
const ELLIPSIS: &str = " ... ";

/// An error on one line of at most `max_chars` characters. Of several lines it shows the first, which tells how the work
/// ended, and the last, where programs tell why. If there is no room for both, the last one keeps its beginning: there stands
/// the kind of an exception.
pub fn error_summary(text: &str, max_chars: usize) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let Some(last) = lines.next_back() else { return shorten(first, max_chars) };
    let (first, between) = match first.strip_suffix(TRACEBACK).map(str::trim_end) {
        Some("") => return shorten(last, max_chars),
        Some(first) => (first, " "),
        None => (first, ELLIPSIS),
    };
    if chars(first) + chars(between) + chars(last) <= max_chars {
        return format!("{first}{between}{last}");
    }
    let for_first = max_chars.saturating_sub(chars(last) + chars(ELLIPSIS)).max(max_chars / 3);
    let first: String = first.chars().take(for_first).collect();
    let for_last = max_chars.saturating_sub(chars(&first) + chars(ELLIPSIS));
    format!("{}{ELLIPSIS}{}", first.trim_end(), beginning(last, for_last))
}

/// The beginning and the end of a text that has more characters.
pub fn shorten(text: &str, max_chars: usize) -> String {
    let count = chars(text);
    if count <= max_chars {
        return text.to_owned();
    }
    let kept = max_chars.saturating_sub(chars(ELLIPSIS));
    let tail = kept / 3;
    let head = text.chars().take(kept - tail);
    head.chain(ELLIPSIS.chars()).chain(text.chars().skip(count - tail)).collect()
}

/// The beginning of a text that has more characters.
pub fn beginning(text: &str, max_chars: usize) -> String {
    const END: &str = "...";
    if chars(text) <= max_chars {
        return text.to_owned();
    }
    let head = text.chars().take(max_chars.saturating_sub(chars(END)));
    head.chain(END.chars()).collect()
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PYTHON: &str = "the command ended with exit code 1: Traceback (most recent call last):\n  File \"w.py\", line 5\n    \
                          raise ValueError(number)\n    ^^^^^^\nValueError: a number is wanted\n";

    #[test]
    fn a_traceback_becomes_the_exit_code_and_the_reason() {
        assert_eq!(
            error_summary(PYTHON, 80),
            "the command ended with exit code 1: ValueError: a number is wanted"
        );
        let alone = PYTHON.strip_prefix("the command ended with exit code 1: ").unwrap();
        assert_eq!(error_summary(alone, 80), "ValueError: a number is wanted");
        let said_before = PYTHON.replace("Traceback", "got 'bad'\nTraceback");
        assert_eq!(
            error_summary(&said_before, 80),
            "the command ended with exit code 1: got 'bad' ... ValueError: a number is wanted"
        );
    }

    #[test]
    fn a_shortened_error_keeps_the_kind_of_the_exception() {
        let long = PYTHON.replace("a number", &"ü".repeat(200));
        for max_chars in [40, 60, 80, 118] {
            let short = error_summary(&long, max_chars);
            assert!(short.chars().count() <= max_chars, "{short}");
            assert!(
                short.starts_with("the command e") && short.contains(" ... ValueError: "),
                "{short}"
            );
        }
        let short = error_summary(PYTHON, 60);
        assert!(short.ends_with(" ... ValueError: a number is wanted"), "{short}");
    }

    #[test]
    fn an_error_of_one_line_stays_as_it_is_or_keeps_both_ends() {
        assert_eq!(error_summary("no invoice", 80), "no invoice");
        assert_eq!(error_summary("a\n\n b \n", 80), "a ... b");
        assert_eq!(error_summary("", 80), "");
        let long = shorten(&format!("first{}last", "ü".repeat(300)), 60);
        assert_eq!(long.chars().count(), 60);
        assert!(
            long.starts_with("first") && long.contains(ELLIPSIS) && long.ends_with("last"),
            "{long}"
        );
    }
}
