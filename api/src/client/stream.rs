//! The events of a run as a stream that survives broken connections.
//!
//! A connection that breaks off, or is silent for longer than the server may be, is opened again
//! after the last event that arrived, so nothing is lost and nothing comes twice.

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use futures::stream::try_unfold;
use model::RunId;
use reqwest::Response;
use serde::de::DeserializeOwned;

use super::frame::{BYTES_MAX, Decoder, Frame, TooLarge};
use super::{Ask, Client, Error};
use crate::event::{END, Event, EventKind, KEEP_ALIVE, PROGRESS, ViewProgress};

/// Two signs of life may get lost; after the third the connection is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(3 * KEEP_ALIVE.as_secs());

/// What comes out of a run's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// Something was recorded.
    Event(Event),
    /// How far the views have got.
    Progress(Vec<ViewProgress>),
    /// The run has ended, and all its events were sent. Nothing follows.
    End,
}

impl Client {
    /// Follows a run from its first event, or from the one after `last`, until it has ended.
    ///
    /// # Errors
    /// The stream ends with what the server refuses, or with what kept failing in transport.
    pub fn events(
        &self,
        id: RunId,
        last: Option<u64>,
    ) -> impl Stream<Item = Result<StreamEvent, Error>> + Send + use<> {
        let path = ["v1", "runs", &id.to_string(), "events"];
        let ask = Ask {
            accept: "text/event-stream",
            last_event: last,
            timeout: None,
            ..self.get("follow a run", &path)
        };
        let reader = Reader {
            client: self.clone(),
            ask,
            connection: None,
            ready: VecDeque::new(),
            failed: 0,
            cause: None,
            has_ended: false,
        };
        try_unfold(reader, |mut reader| async {
            let next = reader.next().await?;
            Ok(next.map(|event| (event, reader)))
        })
    }
}

/// An open answer, and what is known of the event that it is in.
struct Connection {
    response: Response,
    decoder: Decoder,
}

struct Reader {
    client: Client,
    ask: Ask,
    connection: Option<Connection>,
    ready: VecDeque<StreamEvent>,
    /// Connections in a row that brought nothing.
    failed: u32,
    /// What the last of them was refused with.
    cause: Option<Error>,
    has_ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<StreamEvent>, Error> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.has_ended {
                return Ok(None);
            }
            match self.read().await? {
                Some(frames) => self.take(frames)?,
                None => self.pause().await?,
            }
        }
    }

    /// The frames of the next bytes; `None` when the connection is of no more use.
    async fn read(&mut self) -> Result<Option<Vec<Frame>>, Error> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                // Nothing is lost with a connection that is given up before its first byte.
                let opened = tokio::time::timeout(SILENCE_MAX, self.client.send(&self.ask)).await;
                let response = match opened {
                    Ok(Ok(response)) => response,
                    Ok(Err(error)) if error.is_retryable() => {
                        self.cause = Some(error);
                        return Ok(None);
                    }
                    Ok(Err(error)) => return Err(error),
                    Err(_) => return Ok(None),
                };
                self.connection.insert(Connection { response, decoder: Decoder::default() })
            }
        };
        // A connection that was silent for so long is not read again.
        let bytes = match tokio::time::timeout(SILENCE_MAX, connection.response.chunk()).await {
            Ok(Ok(Some(bytes))) => bytes,
            Ok(Ok(None) | Err(_)) | Err(_) => return Ok(None),
        };
        match connection.decoder.push(&bytes) {
            Ok(frames) => Ok(Some(frames)),
            Err(TooLarge) => Err(Error::EventTooLarge { url: self.url(), bytes_max: BYTES_MAX }),
        }
    }

    fn take(&mut self, frames: Vec<Frame>) -> Result<(), Error> {
        for frame in frames {
            match frame.event.as_str() {
                END => {
                    self.has_ended = true;
                    self.ready.push_back(StreamEvent::End);
                    return Ok(());
                }
                PROGRESS => {
                    let progress = self.parse(&frame.data)?;
                    self.ready.push_back(StreamEvent::Progress(progress));
                }
                name if EventKind::parse(name).is_some() => {
                    let event: Event = self.parse(&frame.data)?;
                    // What came before the connection broke off is not told again.
                    if self.ask.last_event.is_none_or(|last| last < event.id) {
                        self.ask.last_event = Some(event.id);
                        self.ready.push_back(StreamEvent::Event(event));
                    }
                }
                // A newer server tells more than we know of.
                _ => {}
            }
            self.failed = 0;
            self.cause = None;
        }
        Ok(())
    }

    async fn pause(&mut self) -> Result<(), Error> {
        self.connection = None;
        self.failed += 1;
        let Some(pause) = self.client.retry.pause_after(self.failed) else {
            let broken_off = Error::BrokenOff { url: self.url(), failed: self.failed };
            return Err(self.cause.take().unwrap_or(broken_off));
        };
        tracing::debug!(url = %self.ask.url, "the events broke off, opening them again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn parse<T: DeserializeOwned>(&self, data: &str) -> Result<T, Error> {
        serde_json::from_str(data).map_err(|source| Error::Answer { url: self.url(), source })
    }

    fn url(&self) -> String {
        self.ask.url.to_string()
    }
}
