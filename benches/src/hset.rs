//! The yardstick: plain `HSET` of the same rows, as fast as one connection can send them.
//!
//! The commands are encoded beforehand, so that the loop measures Redis and the socket alone.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use harness::{Redis, Reply, Tool};

use crate::dataset::{Dataset, Day, FEATURES};
use crate::hash::Pair;
use crate::measure::Cost;

/// Commands in one write.
const PIPELINE: usize = 1_000;
/// Replies are a few bytes each; this holds some thousand of them.
const REPLY_BYTES: usize = 1 << 16;

/// Encoded commands, one slice a pipeline.
#[derive(Debug)]
pub struct Commands {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    count: u64,
    reply: Vec<u8>,
}

impl Commands {
    /// Encodes one `HSET` a row, with Feast's key, fields and values.
    #[must_use]
    pub fn encode(dataset: &Dataset) -> Self {
        let mut commands = Self::of_fields(FEATURES.len() + 1);
        dataset.for_each_hash(Day::First, |_, key, fields| commands.push(key, fields));
        commands
    }

    /// No command yet, of rows with so many fields, all of them new.
    #[must_use]
    pub fn of_fields(fields: usize) -> Self {
        let reply = format!(":{fields}\r\n").into_bytes();
        Self { bytes: Vec::new(), ends: Vec::new(), count: 0, reply }
    }

    /// Adds the `HSET` of one row.
    pub fn push(&mut self, key: &[u8], fields: &[Pair]) {
        let is_full = (self.count as usize).is_multiple_of(PIPELINE);
        command(&mut self.bytes, key, fields);
        self.count += 1;
        match self.ends.last_mut().filter(|_| !is_full) {
            Some(end) => *end = self.bytes.len(),
            None => self.ends.push(self.bytes.len()),
        }
    }

    /// Bytes of all commands.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Sends everything over one connection and waits for the last reply.
    ///
    /// # Errors
    /// When Redis answers anything but the number of fields.
    pub fn send(&self, redis: &Redis) -> Result<Cost> {
        let mut stream = TcpStream::connect(("127.0.0.1", redis.port()))?;
        stream.set_nodelay(true)?;
        let replies = stream.try_clone()?;
        let started = Instant::now();
        thread::scope(|scope| {
            // Replies are read while commands are sent; otherwise both sides would wait in turn.
            let reader = scope.spawn(move || self.read_replies(replies));
            let mut start = 0;
            for &end in &self.ends {
                stream.write_all(&self.bytes[start..end])?;
                start = end;
            }
            reader.join().expect("reading replies does not panic")
        })?;
        Ok(Cost { rows: self.count, wall: started.elapsed(), ..Cost::default() })
    }

    fn read_replies(&self, mut replies: TcpStream) -> Result<()> {
        let mut buffer = vec![0; REPLY_BYTES];
        let mut at = 0;
        let mut left = self.count * self.reply.len() as u64;
        while left > 0 {
            let read = replies.read(&mut buffer)?;
            ensure!(read > 0, "Redis closed the connection");
            for &byte in &buffer[..read] {
                ensure!(byte == self.reply[at], "Redis refused an `HSET`, or a key was not new");
                at = (at + 1) % self.reply.len();
            }
            left = left.checked_sub(read as u64).context("Redis sent too many replies")?;
        }
        Ok(())
    }
}

/// Appends one `HSET` in Redis's protocol.
pub(crate) fn command(bytes: &mut Vec<u8>, key: &[u8], fields: &[Pair]) {
    parts(bytes, 2 + 2 * fields.len());
    part(bytes, b"HSET");
    part(bytes, key);
    for (field, value) in fields {
        part(bytes, field);
        part(bytes, value);
    }
}

/// Starts a command of so many parts.
pub(crate) fn parts(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend_from_slice(format!("*{count}\r\n").as_bytes());
}

pub(crate) fn part(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
    bytes.extend_from_slice(part);
    bytes.extend_from_slice(b"\r\n");
}

/// The same with Redis's own benchmark: as many commands and fields, as long, with random keys.
/// `None` when it is not installed.
///
/// # Errors
/// When it fails.
pub fn redis_benchmark(redis: &Redis, dataset: &Dataset) -> Result<Option<Cost>> {
    let Some(program) = Tool::find("redis-benchmark") else { return Ok(None) };
    let rows = dataset.rows();
    // Of a thousand times as many possible keys, hardly one comes twice.
    let (count, keys) = (rows.to_string(), (rows * 1_000).to_string());
    let mut command = Command::new(program);
    command.args(["-p", &redis.port().to_string(), "-n", &count, "-r", &keys, "-q"]);
    // One connection, as ours; with more, the one core of Redis gets no faster.
    command.args(["-c", "1", "-P", &PIPELINE.to_string(), "HSET"]);
    command.args(sample(dataset));
    let started = Instant::now();
    let output = command.output().context("failed to run `redis-benchmark`")?;
    let wall = started.elapsed();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // It exits with success when its commands are refused, too.
    let keys = redis.command(&["DBSIZE"])?;
    let is_full = matches!(keys, Reply::Integer(keys) if keys as f64 > 0.99 * rows as f64);
    ensure!(is_full, "`redis-benchmark` made {keys:?} keys of {rows}");
    Ok(Some(Cost { rows: rows as u64, wall, ..Cost::default() }))
}

/// Key, fields and values as long as those of the first row, without bytes that arguments cannot
/// hold.
fn sample(dataset: &Dataset) -> Vec<String> {
    const RANDOM: &str = "__rand_int__";
    let mut arguments = Vec::new();
    dataset.for_each_hash(Day::First, |index, key, fields| {
        if index == 0 {
            arguments.push(format!("{RANDOM}{}", "k".repeat(key.len() - RANDOM.len())));
            for (number, (field, value)) in fields.iter().enumerate() {
                arguments.push(format!("{number:0>width$}", width = field.len()));
                arguments.push("v".repeat(value.len()));
            }
        }
    });
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_arrives_once() -> Result<()> {
        let dataset = Dataset::new(2_345);
        let redis = Redis::start()?;
        let cost = Commands::encode(&dataset).send(&redis)?;
        assert_eq!(cost.rows, 2_345);
        assert_eq!(redis.command(&["DBSIZE"])?, Reply::Integer(2_345));
        let mut checked = 0;
        dataset.for_each_hash(Day::First, |index, key, fields| {
            if index == 2_344 {
                let found = redis.command(&[b"HGET".as_slice(), key, &fields[0].0]);
                checked += usize::from(found.is_ok_and(|r| r == Reply::Bulk(fields[0].1.clone())));
            }
        });
        assert_eq!(checked, 1);
        Ok(())
    }

    #[test]
    fn a_key_that_was_there_is_noticed() -> Result<()> {
        let commands = Commands::encode(&Dataset::new(10));
        let redis = Redis::start()?;
        commands.send(&redis)?;
        assert!(commands.send(&redis).is_err());
        Ok(())
    }
}
