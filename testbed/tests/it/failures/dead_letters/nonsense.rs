//! Malformed messages: bodies and headers of every kind that the protocol has.

use std::collections::BTreeMap;

use testbed::foreign::{AMQPValue, FieldTable, Properties, persistent, types};

/// Messages that nobody sends who means well.
pub(super) fn messages() -> Vec<(Properties, Vec<u8>)> {
    let id = "01890000-0000-7000-8000-000000000000";
    let bodies: [&[u8]; 9] = [
        b"",
        b"no JSON",
        b"\xff\xfe\x00",
        b"null",
        b"{\"requestId\":7,\"requestData\":1}",
        b"{\"requestId\":\"me\",\"requestData\":\"a\\u0000\"}",
        b"{\"requestId\":{},\"processingResults\":1}",
        b"{\"requestId\":\"\\u0000\"}",
        b"{\"requestId\":\"01890000-0000-7000-8000-000000000000\"",
    ];
    let deep = "[".repeat(100_000).into_bytes();
    let long = vec![b'x'; 15 << 20];
    let plain = bodies.iter().map(|body| body.to_vec()).chain([deep, long]);
    let mut all: Vec<_> = plain.map(|body| (persistent(), body)).collect();
    let text = |text: &str| AMQPValue::LongString(text.into());
    let headers = [
        ("slowlane-reason", text("")),
        ("slowlane-reason", text("a\0b")),
        ("slowlane-reason", text(&"r".repeat(100_000))),
        ("slowlane-reason", AMQPValue::LongLongInt(-1)),
        ("slowlane-run", AMQPValue::LongLongInt(i64::MAX)),
        ("slowlane-run", text("9999999999999999999999")),
        ("slowlane-attempt", AMQPValue::LongLongInt(i64::MIN)),
        ("slowlane-worker", text("\0")),
        ("slowlane-finished-at", text("9999-99-99T99:99:99Z")),
        ("slowlane-started-at", text("1900-01-01T00:00:00.000Z")),
        ("slowlane-error", AMQPValue::Boolean(true)),
        ("slowlane-not-before", AMQPValue::Double(1.5)),
        ("x-last-death-reason", AMQPValue::Void),
        (
            "nested",
            AMQPValue::FieldTable(table(
                "a",
                AMQPValue::FieldTable(table("b", AMQPValue::Timestamp(7))),
            )),
        ),
        ("bytes", AMQPValue::ByteArray(types::ByteArray::from(vec![0xff; 10]))),
    ];
    for (n, (name, value)) in headers.into_iter().enumerate() {
        let body = format!("{{\"requestId\":\"{id}\",\"requestData\":{n}}}");
        all.push((persistent().with_headers(table(name, value)), body.into_bytes()));
    }
    all
}

fn table(name: &str, value: AMQPValue) -> FieldTable {
    FieldTable::from(BTreeMap::from([(name.into(), value)]))
}
