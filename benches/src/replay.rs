//! Prepared commands into a Redis, as fast as it takes them, and what they cost its processor.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Redis, Reply, receive};

use crate::hash::Pair;
use crate::hset;

/// Commands, one after the other, as Redis reads them.
#[derive(Debug, Default)]
pub struct Stream {
    bytes: Vec<u8>,
    commands: usize,
}

impl Stream {
    /// Adds a command.
    pub fn push<'a>(&mut self, parts: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>) {
        let parts = parts.into_iter();
        hset::parts(&mut self.bytes, parts.clone().count());
        parts.for_each(|part| hset::part(&mut self.bytes, part));
        self.commands += 1;
    }

    /// Bytes of all commands.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds the `HSET` of one row.
    pub fn hset(&mut self, key: &[u8], fields: &[Pair]) {
        hset::command(&mut self.bytes, key, fields);
        self.commands += 1;
    }
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    replies: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When the server does not listen.
    pub fn open(redis: &Redis) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", redis.port()))?;
        stream.set_nodelay(true)?;
        let replies = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, replies })
    }

    /// Sends all commands and gives each reply, with its command's number, to `each`.
    ///
    /// # Errors
    /// When the connection ends, and what `each` gives.
    pub fn send(
        &mut self,
        stream: &Stream,
        mut each: impl FnMut(usize, Reply) -> Result<()>,
    ) -> Result<()> {
        let Self { stream: out, replies } = self;
        thread::scope(|scope| {
            // Replies are read while commands are sent; otherwise both sides would wait in turn.
            let sending = scope.spawn(move || out.write_all(&stream.bytes));
            let mut read = || -> Result<()> {
                (0..stream.commands).try_for_each(|number| each(number, receive(replies)?))
            };
            let read = read();
            if read.is_err() {
                // Nobody takes the other replies, so the sender would wait for ever.
                replies.get_ref().shutdown(std::net::Shutdown::Both).ok();
            }
            let sent = sending.join().expect("sending does not panic");
            read?;
            Ok(sent?)
        })
    }

    /// Sends one command.
    ///
    /// # Errors
    /// When the connection ends or Redis refuses the command.
    pub fn ask(&mut self, parts: &[&[u8]]) -> Result<Reply> {
        let mut stream = Stream::default();
        stream.push(parts.iter().copied());
        let mut answer = Reply::Nil;
        self.send(&stream, |_, reply| {
            answer = reply;
            Ok(())
        })?;
        ensure!(!matches!(answer, Reply::Error(_)), "{answer:?}");
        Ok(answer)
    }

    /// Processor time of the server so far, user and system.
    ///
    /// # Errors
    /// When it does not say.
    pub fn server_cpu(&mut self) -> Result<Duration> {
        let info = self.ask(&[b"INFO", b"cpu"])?;
        let text = String::from_utf8_lossy(info.bytes().context("`INFO` gave no text")?);
        cpu(&text).with_context(|| format!("`INFO cpu` said {text}"))
    }
}

fn cpu(info: &str) -> Option<Duration> {
    let seconds = |name: &str| -> Option<f64> {
        info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    let total = seconds("used_cpu_sys:")? + seconds("used_cpu_user:")?;
    Some(Duration::from_secs_f64(total))
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn replies_come_in_order_and_cost_the_server_time() -> Result<()> {
        let redis = Redis::start()?;
        let mut connection = Connection::open(&redis)?;
        let before = connection.server_cpu()?;
        let mut stream = Stream::default();
        (0..20_000).for_each(|_| stream.push([b"INCR".as_slice(), b"n"]));
        let mut last = 0;
        connection.send(&stream, |number, reply| {
            ensure!(reply == Reply::Integer(number as i64 + 1), "{number}: {reply:?}");
            last = number;
            Ok(())
        })?;
        assert_eq!(last, 19_999);
        assert!(connection.server_cpu()? > before);
        Ok(())
    }

    #[test]
    fn an_unwanted_reply_ends_the_sending() -> Result<()> {
        let redis = Redis::start()?;
        let mut stream = Stream::default();
        let value = vec![b'v'; 100_000];
        (0..1_000).for_each(|_| stream.push([b"ECHO".as_slice(), &value]));
        let sent = Connection::open(&redis)?.send(&stream, |_, _| bail!("unwanted"));
        assert_eq!(sent.expect_err("refused").to_string(), "unwanted");
        Ok(())
    }

    #[test]
    fn user_and_system_time_add_up() {
        let info = "# CPU\r\nused_cpu_sys:1.500000\r\nused_cpu_user:2.250000\r\n";
        assert_eq!(cpu(info), Some(Duration::from_millis(3750)));
        assert_eq!(cpu("used_cpu_sys:1.0\r\n"), None);
    }
}
