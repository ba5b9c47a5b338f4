//! What happened to a run, one event after the other, numbered from 1.
//!
//! Recorded in the transaction that made it happen, so that a follower who asks for what came after
//! a number misses nothing and hears nothing that did not happen.

use model::{EventTime, RunId};
use serde::Serialize;
use sqlx::AnyConnection;

use crate::row::Read;
use crate::{Error, Ledger};

/// The run's counter is also its lock: events of one run are recorded one after the other.
const NEXT: &str = "UPDATE runs SET events = events + $2 WHERE run_id = $1 RETURNING events";

const INSERT: &str = "
    INSERT INTO events (
        run_id, event_id, kind, subject, view_name, state, detail, happened_at
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
";

const SINCE: &str = "
    SELECT event_id, kind, subject, view_name, state, detail, happened_at FROM events
    WHERE run_id = $1 AND event_id > $2 ORDER BY event_id LIMIT $3
";

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The run as a whole.
    Run,
    /// One of its jobs.
    Job,
    /// A window of a job.
    Window,
    /// An attempt at a window.
    Attempt,
    /// Something that the operator should know.
    Warning,
}

impl EventKind {
    /// The name as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Job => "job",
            Self::Window => "window",
            Self::Attempt => "attempt",
            Self::Warning => "warning",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Run, Self::Job, Self::Window, Self::Attempt, Self::Warning]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// An event as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventRow {
    /// Its number within the run, from 1.
    pub event_id: u64,
    /// What it is about.
    pub kind: EventKind,
    /// The id of what it is about.
    pub subject: String,
    /// The view's name in Feast, where it is about one.
    pub view_name: Option<String>,
    /// The state that was reached.
    pub state: Option<String>,
    /// More, for people.
    pub detail: Option<String>,
    /// When.
    pub at: EventTime,
}

/// An event to be recorded.
#[derive(Debug)]
pub(crate) struct NewEvent<'a> {
    kind: EventKind,
    subject: String,
    state: &'a str,
    view_name: Option<&'a str>,
    detail: Option<&'a str>,
}

impl<'a> NewEvent<'a> {
    pub(crate) fn new(kind: EventKind, subject: String, state: &'a str) -> Self {
        Self { kind, subject, state, view_name: None, detail: None }
    }

    pub(crate) fn of_view(mut self, view_name: &'a str) -> Self {
        self.view_name = Some(view_name);
        self
    }

    pub(crate) fn saying(mut self, detail: Option<&'a str>) -> Self {
        self.detail = detail;
        self
    }
}

impl Ledger {
    /// The events of a run after a number, in order, at most so many.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn events(&self, run: RunId, after: u64, limit: u32) -> Result<Vec<EventRow>, Error> {
        let read = async {
            let rows = sqlx::query(SINCE)
                .bind(run.to_string())
                .bind(i64::try_from(after).unwrap_or(i64::MAX))
                .bind(i64::from(limit))
                .fetch_all(self.pool())
                .await?;
            rows.iter().map(|row| EventRow::read(&Read(row))).collect::<sqlx::Result<_>>()
        };
        read.await.map_err(|source| Error::Read { what: "events", source })
    }
}

impl EventRow {
    fn read(row: &Read<'_>) -> sqlx::Result<Self> {
        Ok(Self {
            event_id: row.small("event_id")?,
            kind: row.named("kind", EventKind::parse)?,
            subject: row.text("subject")?,
            view_name: row.text_opt("view_name")?,
            state: row.text_opt("state")?,
            detail: row.text_opt("detail")?,
            at: row.time("happened_at")?,
        })
    }
}

/// Records an event; call it last in a transaction, since it holds the run's row.
pub(crate) async fn record(
    transaction: &mut AnyConnection,
    run: RunId,
    event: &NewEvent<'_>,
    at: EventTime,
) -> sqlx::Result<()> {
    record_all(transaction, run, std::slice::from_ref(event), at).await
}

/// Records several events in their order, as [`record`] does one.
pub(crate) async fn record_all(
    transaction: &mut AnyConnection,
    run: RunId,
    events: &[NewEvent<'_>],
    at: EventTime,
) -> sqlx::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let run = run.to_string();
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let last: i64 =
        sqlx::query_scalar(NEXT).bind(&run).bind(count).fetch_one(&mut *transaction).await?;
    for (id, event) in (last - count + 1..).zip(events) {
        sqlx::query(INSERT)
            .bind(&run)
            .bind(id)
            .bind(event.kind.as_str())
            .bind(&event.subject)
            .bind(event.view_name)
            .bind(event.state)
            .bind(event.detail)
            .bind(at.nanos())
            .execute(&mut *transaction)
            .await?;
    }
    Ok(())
}

/// Records that a run reached a state.
pub(crate) async fn of_run(
    transaction: &mut AnyConnection,
    run: RunId,
    state: &str,
    detail: Option<&str>,
    at: EventTime,
) -> sqlx::Result<()> {
    let event = NewEvent::new(EventKind::Run, run.to_string(), state).saying(detail);
    record(transaction, run, &event, at).await
}
