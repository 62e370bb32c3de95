//! Finds publisher confirms among the frames of AMQP 0-9-1.

/// Type (1), channel (2) and length (4).
const HEADER_BYTES: usize = 7;
/// What follows the payload.
const FRAME_END: u8 = 0xCE;
/// Class and method of `basic.ack`.
const BASIC_ACK: [u8; 4] = [0, 60, 0, 80];

/// These bytes, which begin with a frame, without their first `basic.ack`; none if they have none.
pub(super) fn without_first_confirm(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut at = 0;
    loop {
        let length = bytes.get(at + 3..at + HEADER_BYTES)?;
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        let end = at + HEADER_BYTES + length;
        if *bytes.get(end)? != FRAME_END {
            return None;
        }
        if bytes[at] == 1 && bytes[at + HEADER_BYTES..end].starts_with(&BASIC_ACK) {
            return Some([&bytes[..at], &bytes[end + 1..]].concat());
        }
        at = end + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&[kind, 0, 1], &length[..], payload, &[FRAME_END]].concat()
    }

    #[test]
    fn only_the_first_confirm_is_cut_out() {
        let ack = |tag| frame(1, &[&BASIC_ACK[..], &[0, 0, 0, 0, 0, 0, 0, tag, 0]].concat());
        let (heartbeat, open_ok) = (frame(8, &[]), frame(1, &[0, 20, 0, 11, 0, 0, 0, 0]));
        let bytes = [heartbeat.clone(), open_ok.clone(), ack(1), ack(2)].concat();
        let rest = [heartbeat.clone(), open_ok, ack(2)].concat();
        assert_eq!(without_first_confirm(&bytes), Some(rest));
        assert_eq!(without_first_confirm(&heartbeat), None);
        assert_eq!(without_first_confirm(b"no frames at all"), None);
    }
}
