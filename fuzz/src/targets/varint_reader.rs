//! A program of reads: the first half of the input says what to read, the second half is read.

use mdk_wire::varint::{Reader, Writer};

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let (program, bytes) = data.split_at(data.len() / 2);
    let mut reader = Reader::new(bytes);
    let mut writer = Writer::new();
    for step in program {
        let before = reader.remaining();
        let done = match step % 8 {
            0 => reader.u8().map(|value| _ = writer.u8(value)),
            1 => reader.u16().map(|value| _ = writer.u16(value)),
            2 => reader.u32().map(|value| _ = writer.u32(value)),
            3 => reader.u64().map(|value| _ = writer.u64(value)),
            4 => {
                reader.varint().map(|value| _ = writer.varint(value as usize).expect("it was read"))
            }
            5 => reader.take(usize::from(step / 8)).map(|value| _ = writer.bytes(value)),
            6 => reader.array::<12>().map(|value| _ = writer.bytes(&value)),
            _ => {
                let max = usize::from(step / 8) * 64;
                reader.vector("fuzz", max).map(|value| {
                    assert!(value.len() <= max);
                    writer.vector("fuzz", max, value).expect("it was read");
                })
            }
        };
        assert!(reader.remaining() <= before);
        if done.is_err() {
            // Up to there, what was written is what was read.
            assert_eq!(writer.into_vec(), bytes[..bytes.len() - before]);
            return;
        }
    }
    let read = bytes.len() - reader.remaining();
    assert_eq!(writer.into_vec(), bytes[..read]);
    assert_eq!(reader.is_empty(), read == bytes.len());
    assert_eq!(reader.finish().is_ok(), read == bytes.len());
}
