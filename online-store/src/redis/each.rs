//! One command for each of many keys, each at the server that holds its key.
//!
//! What fences, markers, nonces and the sweep are made of. Rows take the ways of `route` instead;
//! both go over lanes, follow `ASK` and try again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::future::join_all;

use super::connection::{Server, Servers};
use super::lane::{Pipeline, Reply};
use super::lanes::Lanes;
use super::replica::Replicas;
use super::reply::Failure;
use super::rows::Outcome;
use super::script::Loaded;
use super::write::{Sends, one_by_one};
use super::{RedisStore, shares, try_again};
use crate::error::Error;
use crate::pace::Pace;

/// How the commands are written and their answers read.
struct Commands<'a, W, R> {
    script: Option<&'a Loaded>,
    pace: Option<&'a Pace>,
    write: W,
    read: R,
}

/// Where commands go, and over which connections.
#[derive(Clone, Copy)]
struct At<'a> {
    servers: &'a Servers,
    lanes: &'a Lanes,
}

/// What has been answered: an entry a key.
type Answers<T> = Mutex<Vec<Option<T>>>;

impl RedisStore {
    /// Sends a command for each key, in pipelines, and reads the answers. All of it is tried again
    /// until it is answered, so a command must be safe to repeat. `pace` holds back what is as
    /// much work as a row.
    ///
    /// `write` appends the command of a key's number, and is told whether the server is one that
    /// only takes it after `ASKING`; `read` is given the server's address and the number.
    pub(super) async fn each<K: AsRef<[u8]>, T>(
        &self,
        keys: &[K],
        script: Option<&Loaded>,
        pace: Option<&Pace>,
        write: impl Fn(&mut Vec<u8>, usize, bool),
        read: impl Fn(&str, usize, Reply<'_>) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Error> {
        self.each_after(None, keys, &Commands { script, pace, write, read }).await
    }

    /// Reads by commands that change nothing, from replicas where those are read, and from
    /// primaries what they did not answer.
    pub(super) async fn each_read<K: AsRef<[u8]>, T>(
        &self,
        keys: &[K],
        write: impl Fn(&mut Vec<u8>, usize, bool),
        read: impl Fn(&str, usize, Reply<'_>) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Error> {
        let commands = Commands { script: None, pace: None, write, read };
        self.each_after(self.readers().await, keys, &commands).await
    }

    /// Sends the commands to the primaries until all are answered, after replicas, where there are
    /// any, have been asked once.
    async fn each_after<K: AsRef<[u8]>, T, W, R>(
        &self,
        readers: Option<(&Replicas, Servers)>,
        keys: &[K],
        commands: &Commands<'_, W, R>,
    ) -> Result<Vec<T>, Error>
    where
        W: Fn(&mut Vec<u8>, usize, bool),
        R: Fn(&str, usize, Reply<'_>) -> Result<T, Failure>,
    {
        let answers = Mutex::new(keys.iter().map(|_| None).collect::<Vec<Option<T>>>());
        if let Some((replicas, servers)) = readers {
            let at = At { servers: &servers, lanes: &replicas.lanes };
            let asked = self.each_open(keys, &open(&answers), at, commands, &answers).await;
            if let Err(failure) = asked {
                tracing::warn!(error = %failure.error, "a replica failed; its primary is read");
                replicas.rest(&servers);
            }
        }
        let mut failed = 0;
        loop {
            let open = open(&answers);
            if open.is_empty() {
                return Ok(lock(&answers).drain(..).flatten().collect());
            }
            let servers = self.connection.servers();
            let at = At { servers: &servers, lanes: &self.lanes };
            let Err(failure) = self.each_open(keys, &open, at, commands, &answers).await else {
                continue;
            };
            // As for rows: a failure after some progress is a new one.
            if self::open(&answers).len() < open.len() {
                failed = 0;
            }
            self.lanes.close_free();
            let script = commands.script.map(|script| &script.text);
            failed = self.recover(&servers, failure, failed, script).await?;
        }
    }

    async fn each_open<K: AsRef<[u8]>, T, W, R>(
        &self,
        keys: &[K],
        open: &[u32],
        at: At<'_>,
        commands: &Commands<'_, W, R>,
        answers: &Answers<T>,
    ) -> Result<(), Failure>
    where
        W: Fn(&mut Vec<u8>, usize, bool),
        R: Fn(&str, usize, Reply<'_>) -> Result<T, Failure>,
    {
        let shares = shares(open, at.servers, |at| keys[at as usize].as_ref());
        let sent = join_all(shares.iter().map(|(server, share)| {
            let server = &at.servers.list()[*server];
            self.each_at(server, at.lanes, share, false, commands, answers)
        }));
        let mut elsewhere: BTreeMap<Server, Vec<u32>> = BTreeMap::new();
        let mut failure = None;
        for sent in sent.await {
            match sent {
                Ok(moved) => {
                    moved
                        .into_iter()
                        .for_each(|(at, to)| elsewhere.entry(to).or_default().push(at));
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        for (server, share) in elsewhere {
            // Whoever has a key that is on its way is a primary.
            // Boxed, as it is rare.
            let sent = self.each_at(&server, &self.lanes, &share, true, commands, answers);
            match Box::pin(sent).await {
                Ok(moved) if moved.is_empty() => {}
                Ok(_) => failure = failure.or(Some(try_again(&server.to_string()))),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Sends the commands of one server; gives the keys that another one takes for now.
    async fn each_at<T, W, R>(
        &self,
        server: &Server,
        lanes: &Lanes,
        share: &[u32],
        is_asking: bool,
        commands: &Commands<'_, W, R>,
        answers: &Answers<T>,
    ) -> Result<Vec<(u32, Server)>, Failure>
    where
        W: Fn(&mut Vec<u8>, usize, bool),
        R: Fn(&str, usize, Reply<'_>) -> Result<T, Failure>,
    {
        let mut taken = lanes.take(&self.connection, server).await?;
        let address = server.to_string();
        let sends = Sends {
            rows: share,
            calls: one_by_one(share),
            limits: &self.limits,
            pace: commands.pace,
            is_asking,
        };
        let mut outcome = Outcome::default();
        let write = |pipeline: &mut Pipeline, call: &[u32]| {
            (commands.write)(&mut pipeline.commands, call[0] as usize, is_asking);
        };
        let take = |call: &[u32], reply: Reply<'_>, _: &mut Outcome| {
            let at = call[0] as usize;
            let answer = (commands.read)(&address, at, reply)?;
            lock(answers)[at] = Some(answer);
            Ok(())
        };
        sends.run(&mut taken.lane, &mut outcome, write, take).await?;
        taken.put_back();
        Ok(outcome.elsewhere)
    }
}

/// The keys whose answer has not come.
fn open<T>(answers: &Answers<T>) -> Vec<u32> {
    let answers = lock(answers);
    (0..answers.len() as u32).filter(|&at| answers[at as usize].is_none()).collect()
}

/// Nothing that may panic is done while it is held, so a poisoned lock is as good as any.
fn lock<T>(answers: &Answers<T>) -> MutexGuard<'_, Vec<Option<T>>> {
    answers.lock().unwrap_or_else(PoisonError::into_inner)
}
