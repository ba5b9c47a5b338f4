//! Reads pieces ahead of the readers that ask for them, within bounds.
//!
//! The order of the pieces is known when the scan begins, so the next files' bytes are on their
//! way while those of this one are decoded, and many small files do not cost a round trip each,
//! one after the other. DataFusion would ask for one file at a time.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::piece::Piece;
use super::read::{self, ReadError};

/// Pieces on their way at a time: with 50 ms a request, some 600 small files a second.
const PIECES_AHEAD_MAX: usize = 32;
/// Requests at a time, of all readers of a scan: what a store serves from one client without
/// throttling it, and more than a line needs to be full.
const REQUESTS_AT_ONCE: usize = 32;

/// The bytes of a piece, by where they begin in the file.
pub(super) type Parts = Vec<(u64, Bytes)>;

/// All pieces of a scan, and how far they have been read.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    store: Arc<dyn ObjectStore>,
    pieces: Vec<Arc<Piece>>,
    bytes_ahead_max: u64,
    requests: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    fetches: Vec<Progress>,
    /// The first piece that has not been begun.
    next: usize,
    pieces_ahead: usize,
    bytes_ahead: u64,
}

#[derive(Debug)]
enum Progress {
    Waiting,
    Ahead(Fetch),
    Taken,
}

/// A piece on its way. Ends when nobody wants it any more.
#[derive(Debug)]
pub(super) struct Fetch(JoinHandle<Result<Parts, ReadError>>);

impl Fetch {
    /// Waits for the bytes.
    pub(super) async fn join(mut self) -> Result<Parts, ReadError> {
        match (&mut self.0).await {
            Ok(fetched) => fetched,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only the end of the runtime cancels a task that is waited for.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ReadAhead {
    /// Pieces in the order in which they will be asked for, and how many bytes may be held that
    /// nobody has asked for yet.
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        pieces: Vec<Piece>,
        bytes_ahead_max: u64,
    ) -> Self {
        let state = State {
            fetches: pieces.iter().map(|_| Progress::Waiting).collect(),
            next: 0,
            pieces_ahead: 0,
            bytes_ahead: 0,
        };
        Self {
            store,
            pieces: pieces.into_iter().map(Arc::new).collect(),
            bytes_ahead_max,
            requests: Arc::new(Semaphore::new(REQUESTS_AT_ONCE)),
            state: Mutex::new(state),
        }
    }

    /// The pieces in order.
    pub(crate) fn pieces(&self) -> &[Arc<Piece>] {
        &self.pieces
    }

    pub(super) fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// Takes a piece, begun by now at the latest, and begins those behind it.
    pub(super) fn take(&self, index: usize) -> Fetch {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fetch = match std::mem::replace(&mut state.fetches[index], Progress::Taken) {
            Progress::Ahead(fetch) => {
                state.pieces_ahead -= 1;
                state.bytes_ahead -= self.pieces[index].bytes();
                fetch
            }
            // A second reader of one piece reads it again.
            Progress::Waiting | Progress::Taken => self.begin(index),
        };
        self.look_ahead(&mut state);
        fetch
    }

    fn look_ahead(&self, state: &mut State) {
        while let Some(piece) = self.pieces.get(state.next) {
            if matches!(state.fetches[state.next], Progress::Waiting) {
                let bytes = state.bytes_ahead + piece.bytes();
                if state.pieces_ahead == PIECES_AHEAD_MAX || bytes > self.bytes_ahead_max {
                    return;
                }
                state.fetches[state.next] = Progress::Ahead(self.begin(state.next));
                state.pieces_ahead += 1;
                state.bytes_ahead = bytes;
            }
            state.next += 1;
        }
    }

    fn begin(&self, index: usize) -> Fetch {
        let (store, requests) = (Arc::clone(&self.store), Arc::clone(&self.requests));
        let piece = Arc::clone(&self.pieces[index]);
        Fetch(tokio::spawn(async move { fetch(store.as_ref(), &requests, &piece).await }))
    }
}

async fn fetch(
    store: &dyn ObjectStore,
    requests: &Semaphore,
    piece: &Piece,
) -> Result<Parts, ReadError> {
    let parts = piece.requests.iter().cloned().map(|range| async move {
        let _permit = requests.acquire().await.expect("nobody closes it");
        let (bytes, _) = read::range(store, piece.pin(), range.clone()).await?;
        Ok((range.start, bytes))
    });
    futures::stream::iter(parts).buffered(REQUESTS_AT_ONCE).try_collect().await
}

/// The bytes of a range, from parts in order; `None` when they do not hold all of it.
pub(super) fn cut(parts: &Parts, range: Range<u64>) -> Option<Bytes> {
    let index = parts.partition_point(|(begin, _)| *begin <= range.start).checked_sub(1)?;
    let (begin, first) = &parts[index];
    let from = usize::try_from(range.start - begin).ok()?;
    let length = usize::try_from(range.end - range.start).ok()?;
    if from + length <= first.len() {
        return Some(first.slice(from..from + length));
    }
    // It goes on in the next part, where a large span was cut into requests.
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(first.get(from..)?);
    for (begin, part) in &parts[index + 1..] {
        if *begin != range.start + bytes.len() as u64 {
            return None;
        }
        bytes.extend_from_slice(&part[..part.len().min(length - bytes.len())]);
        if bytes.len() == length {
            return Some(bytes.into());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_out_of_its_parts() {
        let part = |begin, text: &'static str| (begin, Bytes::from_static(text.as_bytes()));
        let parts = vec![part(10, "abcd"), part(14, "efgh"), part(30, "xyz")];
        let found = |range| cut(&parts, range).map(|bytes| bytes.to_vec());
        assert_eq!(found(11..13).as_deref(), Some(&b"bc"[..]));
        assert_eq!(found(12..17).as_deref(), Some(&b"cdefg"[..]));
        assert_eq!(found(14..18).as_deref(), Some(&b"efgh"[..]));
        assert_eq!(found(16..31), None, "there is a gap");
        assert_eq!(found(5..11), None);
        assert_eq!(found(32..34), None);
    }
}
