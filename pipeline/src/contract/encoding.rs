//! Text encoding of JSON bodies: UTF-8, with or without a byte order mark; others are named in the error.

use std::{borrow::Cow, str};

/// What .NET and others write before UTF-8.
const UTF8_MARK: char = '\u{feff}';
const UTF16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];
const UTF32_MARKS: [&[u8]; 2] = [b"\xff\xfe\0\0", b"\0\0\xfe\xff"];
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";

/// A body that is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUtf8 {
    /// It is in another encoding, which can be told.
    #[error("it is {0}, not UTF-8")]
    Other(&'static str),
    /// It has bytes that UTF-8 has not, as Latin-1 and Windows-1252 have for letters with accents.
    #[error("it is not UTF-8: byte {at} is 0x{byte:02X} (is it Latin-1 or Windows-1252?)")]
    Byte {
        /// The place of the first such byte, from 1.
        at: usize,
        /// The byte.
        byte: u8,
    },
}

/// The bytes after a UTF-8 byte order mark, if they begin with one.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// A text in UTF-8, without its byte order mark.
///
/// # Errors
/// [`NotUtf8`], which names the encoding where that can be told.
pub fn utf8(bytes: &[u8]) -> Result<&str, NotUtf8> {
    if let Some(name) = other_encoding(bytes) {
        return Err(NotUtf8::Other(name));
    }
    let bad = |error: str::Utf8Error| NotUtf8::Byte {
        at: error.valid_up_to() + 1,
        byte: bytes[error.valid_up_to()],
    };
    let text = str::from_utf8(bytes).map_err(bad)?;
    Ok(text.strip_prefix(UTF8_MARK).unwrap_or(text))
}

/// The encoding, if it is none in which JSON is sent. JSON begins with an ASCII character, so zeros show
/// the wider encodings also where no mark does.
pub fn other_encoding(bytes: &[u8]) -> Option<&'static str> {
    let has_mark = |marks: [&[u8]; 2]| marks.iter().any(|mark| bytes.starts_with(mark));
    match bytes {
        _ if has_mark(UTF32_MARKS) => Some("UTF-32"),
        _ if has_mark(UTF16_MARKS) => Some("UTF-16"),
        _ if bytes.starts_with(GZIP_MAGIC) => Some("compressed with gzip"),
        [0, 0, 0, _, ..] | [_, 0, 0, 0, ..] => Some("UTF-32"),
        [0, _, ..] | [_, 0, ..] => Some("UTF-16"),
        _ => None,
    }
}

/// The text as far as it can be read, to look for an id in it.
pub(super) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if other_encoding(bytes) != Some("UTF-16") {
        return String::from_utf8_lossy(without_mark(bytes));
    }
    let is_big_endian = bytes[0] == 0 || bytes[0] == 0xfe;
    let unit = |pair: &[u8]| match is_big_endian {
        true => u16::from_be_bytes([pair[0], pair[1]]),
        false => u16::from_le_bytes([pair[0], pair[1]]),
    };
    let units: Vec<u16> = bytes.chunks_exact(2).map(unit).collect();
    let text = String::from_utf16_lossy(&units);
    text.strip_prefix(UTF8_MARK).unwrap_or(&text).to_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, mark: bool, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let mark = mark.then_some(0xfeff);
        mark.into_iter().chain(text.encode_utf16()).flat_map(unit).collect()
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(utf8("\u{feff}{}".as_bytes()), Ok("{}"));
        assert_eq!(utf8("{\"\u{feff}\":\"ü\"}".as_bytes()), Ok("{\"\u{feff}\":\"ü\"}"));
        assert_eq!(without_mark("\u{feff}1".as_bytes()), b"1");
        assert_eq!(utf8(b""), Ok(""));
    }

    #[test]
    fn other_encodings_are_named() {
        for mark in [true, false] {
            for unit in [u16::to_le_bytes, u16::to_be_bytes] {
                let bytes = utf16("{\"ü\":1}", mark, unit);
                assert_eq!(utf8(&bytes), Err(NotUtf8::Other("UTF-16")));
                assert_eq!(lossy(&bytes), "{\"ü\":1}");
            }
        }
        for bytes in [b"\xff\xfe\0\0{\0\0\0", b"{\0\0\0}\0\0\0", b"\0\0\0{\0\0\0}"] {
            assert_eq!(utf8(bytes), Err(NotUtf8::Other("UTF-32")));
        }
        let error = utf8(b"\x1f\x8b\x08").unwrap_err().to_string();
        assert_eq!(error, "it is compressed with gzip, not UTF-8");
        let error = utf8(b"{\"a\":\"\xfc\"}").unwrap_err().to_string();
        assert!(error.contains("byte 7 is 0xFC (is it Latin-1"), "{error}");
    }
}
