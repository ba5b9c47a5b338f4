//! Commands in Redis's wire format, written one after the other into one buffer.
//!
//! Pure. Source: Redis serialization protocol, version 2,
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

/// Starts a command of a number of arguments, its name included.
pub(super) fn command(buffer: &mut Vec<u8>, arguments: usize) {
    line(buffer, b'*', arguments);
}

/// Appends an argument.
pub(super) fn argument(buffer: &mut Vec<u8>, argument: &[u8]) {
    line(buffer, b'$', argument.len());
    buffer.extend_from_slice(argument);
    buffer.extend_from_slice(b"\r\n");
}

/// Appends a number as an argument.
pub(super) fn number(buffer: &mut Vec<u8>, number: u64) {
    let mut text = itoa::Buffer::new();
    argument(buffer, text.format(number).as_bytes());
}

fn line(buffer: &mut Vec<u8>, kind: u8, number: usize) {
    let mut text = itoa::Buffer::new();
    buffer.push(kind);
    buffer.extend_from_slice(text.format(number).as_bytes());
    buffer.extend_from_slice(b"\r\n");
}
