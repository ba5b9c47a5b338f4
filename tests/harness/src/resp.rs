//! Redis's wire format, as much as a test needs to look inside a server.
//!
//! Apart from the server so that it can be tested on bytes. Commands go out as arrays of bulk
//! strings, replies come back as [`Reply`]. Source: Redis serialization protocol, version 2,
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use std::io::{BufRead, Read, Write};

use anyhow::{Context, Result, bail};

/// What Redis answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A short text, such as `OK`.
    Status(String),
    /// An error, with its code.
    Error(String),
    /// A number.
    Integer(i64),
    /// A string of bytes.
    Bulk(Vec<u8>),
    /// Nothing there.
    Nil,
    /// Several replies.
    Array(Vec<Reply>),
}

impl Reply {
    /// The bytes of a string; `None` for any other reply.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The members of an array; `None` for any other reply.
    #[must_use]
    pub fn items(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }
}

/// Sends one command.
pub(crate) fn send(to: &mut impl Write, arguments: &[&[u8]]) -> Result<()> {
    let mut message = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        message.extend(format!("${}\r\n", argument.len()).into_bytes());
        message.extend_from_slice(argument);
        message.extend_from_slice(b"\r\n");
    }
    to.write_all(&message).context("failed to send the command")
}

/// Reads one reply.
///
/// # Errors
/// When the connection ends, or what comes is no reply.
pub fn receive(from: &mut impl BufRead) -> Result<Reply> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line).context("failed to read the reply")?;
    let line = String::from_utf8_lossy(&line);
    let line = line.strip_suffix("\r\n").context("the server closed the connection")?;
    let (kind, rest) = line.split_at_checked(1).context("the reply is empty")?;
    Ok(match kind {
        "+" => Reply::Status(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Integer(rest.parse()?),
        "$" if rest == "-1" => Reply::Nil,
        "$" => Reply::Bulk(bulk(from, rest.parse()?)?),
        "*" if rest == "-1" => Reply::Nil,
        "*" => {
            let count: usize = rest.parse()?;
            Reply::Array((0..count).map(|_| receive(from)).collect::<Result<_>>()?)
        }
        _ => bail!("the reply `{line}` is of no known kind"),
    })
}

fn bulk(from: &mut impl Read, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length + 2];
    from.read_exact(&mut bytes).context("the server closed the connection")?;
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_reply_is_read() -> Result<()> {
        let mut wire: &[u8] = b"*6\r\n+OK\r\n-ERR no\r\n:-7\r\n$4\r\na\r\nb\r\n$-1\r\n*0\r\n";
        let expected = Reply::Array(vec![
            Reply::Status("OK".to_owned()),
            Reply::Error("ERR no".to_owned()),
            Reply::Integer(-7),
            Reply::Bulk(b"a\r\nb".to_vec()),
            Reply::Nil,
            Reply::Array(Vec::new()),
        ]);
        assert_eq!(receive(&mut wire)?, expected);
        assert!(wire.is_empty());
        Ok(())
    }

    #[test]
    fn a_closed_connection_is_an_error() {
        assert!(receive(&mut &b""[..]).is_err());
        assert!(receive(&mut &b"$10\r\nabc"[..]).is_err());
    }

    #[test]
    fn a_command_carries_any_bytes() -> Result<()> {
        let mut wire = Vec::new();
        send(&mut wire, &[b"SET", b"a\r\n\0", b""])?;
        assert_eq!(wire, b"*3\r\n$3\r\nSET\r\n$4\r\na\r\n\0\r\n$0\r\n\r\n");
        Ok(())
    }
}
