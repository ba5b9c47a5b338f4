//! One connection of our own to one server: commands out, replies in, many at a time.
//!
//! Beside fred because a row of a first load is one command: here it is bytes in one buffer, and
//! its reply is looked at where it lies. Deliberately absent: what is sent (see `write`), how a
//! connection is made (see `connection`), and trying again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use fred::error::{Error as ClientError, ErrorKind};
use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::connection::Socket;
use super::reply::{self, Failure};
use crate::pace::Pace;

/// Room for replies: some thousand short ones.
const READ_BYTES: usize = 64 * 1024;

/// What most replies of a first load are; looked for before anything is parsed.
const OK: &[u8] = b"+OK\r\n";

/// A connection to one server. After a failure it is to be dropped: replies may be outstanding.
pub(super) struct Lane {
    address: String,
    read: ReadHalf<Socket>,
    write: WriteHalf<Socket>,
    replies: BytesMut,
    command_timeout: Duration,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A server's answer to one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    /// `OK`, `QUEUED` and the like.
    Status,
    Error(&'a str),
    Integer(i64),
    Bytes(&'a [u8]),
    Nil,
    Array(Items<'a>),
}

/// The members of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Items<'a> {
    buffer: &'a [u8],
    frames: &'a [RangeFrame],
}

impl<'a> Items<'a> {
    pub(super) fn iter(self) -> impl ExactSizeIterator<Item = Reply<'a>> {
        self.frames.iter().map(move |frame| Reply::of(self.buffer, frame))
    }
}

impl<'a> Reply<'a> {
    fn of(buffer: &'a [u8], frame: &'a RangeFrame) -> Self {
        let slice = |&(start, end): &(usize, usize)| &buffer[start..end];
        match frame {
            RangeFrame::SimpleString(_) => Self::Status,
            RangeFrame::Error(range) => {
                Self::Error(std::str::from_utf8(slice(range)).unwrap_or("(an error of no text)"))
            }
            RangeFrame::Integer(number) => Self::Integer(*number),
            RangeFrame::BulkString(range) => Self::Bytes(slice(range)),
            RangeFrame::Array(frames) => Self::Array(Items { buffer, frames }),
            RangeFrame::Null => Self::Nil,
        }
    }
}

/// One pipeline: commands to send at once, and how many rows of the batch they are for.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    pub commands: Vec<u8>,
    pub replies: usize,
    pub rows: usize,
}

impl Pipeline {
    fn clear(&mut self) {
        self.commands.clear();
        (self.replies, self.rows) = (0, 0);
    }
}

impl Lane {
    pub(super) fn new(address: String, socket: Socket, command_timeout: Duration) -> Self {
        let (read, write) = tokio::io::split(socket);
        let replies = BytesMut::with_capacity(READ_BYTES);
        Self { address, read, write, replies, command_timeout }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends pipelines until `fill` leaves one empty, at most `window` of them unanswered and at
    /// the pace of rows, where they are any, and gives every reply to `take`, in order.
    ///
    /// # Errors
    /// What the connection does; and the first failure that `take` gives, after which nothing
    /// more is sent but what is outstanding is still taken.
    pub(super) async fn exchange(
        &mut self,
        window: usize,
        pace: Option<&Pace>,
        mut fill: impl FnMut(&mut Pipeline),
        mut take: impl FnMut(Reply<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (sent, mut outstanding) = mpsc::channel::<(usize, usize, Instant)>(window.max(1));
        let failed = AtomicBool::new(false);
        let Self { address, read, write, replies, command_timeout } = self;
        let send = async {
            let mut pipeline = Pipeline::default();
            while !failed.load(Ordering::Relaxed) {
                pipeline.clear();
                fill(&mut pipeline);
                if pipeline.replies == 0 {
                    break;
                }
                if let Some(pace) = pace {
                    pace.admit(pipeline.rows).await;
                }
                // The receiver outlives us: both end together.
                if let Ok(place) = sent.reserve().await {
                    place.send((pipeline.replies, pipeline.rows, Instant::now()));
                }
                let wrote = write.write_all(&pipeline.commands).await;
                wrote.map_err(|error| lost(address, error))?;
            }
            drop(sent);
            Ok::<(), Failure>(())
        };
        let receive = async {
            let mut failure = None;
            while let Some((count, rows, started)) = outstanding.recv().await {
                for _ in 0..count {
                    let taken = next(address, read, replies, *command_timeout, &mut take).await?;
                    if let Err(error) = taken {
                        failed.store(true, Ordering::Relaxed);
                        failure.get_or_insert(error);
                    }
                }
                if let Some(pace) = pace {
                    pace.observe(rows, started.elapsed());
                }
            }
            Ok(failure)
        };
        let ((), failure) = tokio::try_join!(send, receive)?;
        failure.map_or(Ok(()), Err)
    }
}

/// Takes the next reply, waiting for it as long as a command may take.
async fn next(
    address: &str,
    read: &mut ReadHalf<Socket>,
    replies: &mut BytesMut,
    command_timeout: Duration,
    take: &mut impl FnMut(Reply<'_>) -> Result<(), Failure>,
) -> Result<Result<(), Failure>, Failure> {
    loop {
        if replies.starts_with(OK) {
            replies.advance(OK.len());
            return Ok(take(Reply::Status));
        }
        let decoded = decode_range(replies).map_err(|error| unreadable(address, &error))?;
        if let Some((frame, length)) = decoded {
            let taken = take(Reply::of(replies, &frame));
            replies.advance(length);
            return Ok(taken);
        }
        replies.reserve(READ_BYTES);
        match timeout(command_timeout, read.read_buf(replies)).await {
            Ok(Ok(0)) => return Err(lost(address, std::io::ErrorKind::UnexpectedEof.into())),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(lost(address, error)),
            Err(_) => return Err(lost(address, std::io::ErrorKind::TimedOut.into())),
        }
    }
}

pub(super) fn lost(address: &str, error: std::io::Error) -> Failure {
    let kind = if error.kind() == std::io::ErrorKind::TimedOut {
        ErrorKind::Timeout
    } else {
        ErrorKind::IO
    };
    Failure::of_command(address, ClientError::new(kind, error.to_string()))
}

fn unreadable(address: &str, error: &redis_protocol::error::RedisProtocolError) -> Failure {
    reply::unreadable(address, format!("no protocol of Redis: {error}"))
}
