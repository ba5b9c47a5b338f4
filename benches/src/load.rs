//! The load: connections that ask one question after the other, all in one thread.
//!
//! One thread with an event loop, because every cycle of the load is one that the server cannot
//! have. A connection waits for its answer before it asks again, so what the server cannot take is
//! not sent: latencies are those of so many callers, not of a rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::http::Connection;
use crate::latency::Latencies;
use crate::question::Question;
use crate::usage::own_cpu;

/// How much of an unwanted answer is shown.
const SHOWN_BYTES_MAX: usize = 300;
/// Connections start this far apart in the list of questions: a prime, so that they do not ask the
/// same at the same time.
const STRIDE: usize = 7_919;

/// A load on a server.
#[derive(Clone, Debug)]
pub struct Load {
    /// The server.
    pub address: SocketAddr,
    /// What is asked, over and over.
    pub questions: Arc<[Question]>,
    /// How many ask at the same time.
    pub connections: usize,
    /// Questions a second of all connections together; as fast as answers come without.
    pub rate: Option<f64>,
}

/// What came of a load.
#[derive(Clone, Debug)]
pub struct Measured {
    /// From the first question to the last answer.
    pub wall: Duration,
    /// Of every answer.
    pub latencies: Latencies,
    /// Processor time of the load itself.
    pub cpu: Duration,
}

impl Measured {
    /// Answers a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.latencies.total() as f64 / self.wall.as_secs_f64()
    }
}

impl Load {
    /// Asks for so long.
    ///
    /// # Errors
    /// At the first answer whose status is not 200, and when a connection ends.
    pub fn run(&self, length: Duration) -> Result<Measured> {
        runtime()?.block_on(async {
            let mut callers = self.callers().await?;
            let cpu = own_cpu()?;
            let begun = Instant::now();
            let mut tasks = JoinSet::new();
            for caller in callers.drain(..) {
                tasks.spawn(caller.ask(begun, begun + length));
            }
            let mut latencies = Latencies::default();
            // An error drops the set, which ends the other callers.
            while let Some(caller) = tasks.join_next().await {
                latencies.add(&caller.context("a connection panicked")??);
            }
            let (wall, cpu) = (begun.elapsed(), own_cpu()?.saturating_sub(cpu));
            Ok(Measured { wall, latencies, cpu })
        })
    }

    async fn callers(&self) -> Result<Vec<Caller>> {
        let mut callers = Vec::with_capacity(self.connections);
        for number in 0..self.connections {
            callers.push(Caller {
                connection: Connection::open(self.address).await?,
                questions: Arc::clone(&self.questions),
                next: number * STRIDE % self.questions.len(),
                pace: self.rate.map(|rate| Pace::of(rate, number, self.connections)),
            });
        }
        Ok(callers)
    }
}

/// Asks some questions one after the other and gives each answer to `check`.
///
/// # Errors
/// As [`Load::run`], and what `check` gives.
pub fn ask(
    address: SocketAddr,
    questions: &[Question],
    check: impl Fn(&Question, &[u8]) -> Result<()>,
) -> Result<()> {
    runtime()?.block_on(async {
        let mut connection = Connection::open(address).await?;
        for question in questions {
            check(question, answer(&mut connection, question).await?)?;
        }
        Ok(())
    })
}

fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("failed to start an event loop")
}

/// When a connection may ask.
#[derive(Clone, Copy, Debug)]
struct Pace {
    first: Duration,
    every: Duration,
}

impl Pace {
    /// That of one of so many connections, which take turns.
    fn of(rate: f64, number: usize, connections: usize) -> Self {
        let apart = Duration::from_secs_f64(1.0 / rate);
        Self { first: apart.mul_f64(number as f64), every: apart.mul_f64(connections as f64) }
    }

    fn due(self, asked: u64) -> Duration {
        self.first + self.every.mul_f64(asked as f64)
    }
}

/// A connection and what it asks.
struct Caller {
    connection: Connection,
    questions: Arc<[Question]>,
    next: usize,
    pace: Option<Pace>,
}

impl Caller {
    async fn ask(mut self, begun: Instant, end: Instant) -> Result<Latencies> {
        let mut latencies = Latencies::default();
        loop {
            if let Some(pace) = self.pace {
                // Of a question that is overdue, the time has passed: it is asked at once.
                let due = begun + pace.due(latencies.total());
                tokio::time::sleep_until(due.min(end).into()).await;
            }
            let asked = Instant::now();
            if asked >= end {
                return Ok(latencies);
            }
            answer(&mut self.connection, &self.questions[self.next]).await?;
            latencies.note(asked.elapsed());
            self.next = (self.next + 1) % self.questions.len();
        }
    }
}

/// The body of a good answer.
async fn answer<'a>(connection: &'a mut Connection, question: &Question) -> Result<&'a [u8]> {
    let answer = connection.ask(question.bytes()).await?;
    let shown = &answer.body[..answer.body.len().min(SHOWN_BYTES_MAX)];
    ensure!(answer.status == 200, "{}: {}", answer.status, String::from_utf8_lossy(shown));
    Ok(answer.body)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers on one connection until it is closed; the last answers have another status.
    fn server(good: usize) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::spawn(move || -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut request = [0; 1_024];
            let mut answered = 0;
            while stream.read(&mut request)? > 0 {
                let status = if answered < good { "200 OK" } else { "503 Busy" };
                // In one piece: the system holds a second one back until the first is confirmed.
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}");
                stream.write_all(answer.as_bytes())?;
                answered += 1;
            }
            Ok(())
        });
        Ok(address)
    }

    fn load(good: usize, rate: Option<f64>) -> Result<Load> {
        let questions = [Question::of_bytes(b"question".to_vec())].into();
        Ok(Load { address: server(good)?, questions, connections: 1, rate })
    }

    #[test]
    fn a_paced_load_keeps_its_rate() -> Result<()> {
        let measured = load(usize::MAX, Some(100.0))?.run(Duration::from_millis(500))?;
        // A busy machine may be late with some; none is asked early.
        assert!((10..=50).contains(&measured.latencies.total()), "{measured:?}");
        assert!(measured.wall >= Duration::from_millis(490), "{measured:?}");
        Ok(())
    }

    #[test]
    fn any_other_status_ends_the_load() -> Result<()> {
        let error = load(3, None)?.run(Duration::from_secs(60)).expect_err("the fourth is 503");
        assert!(error.to_string().starts_with("503"), "{error}");
        Ok(())
    }

    #[test]
    fn connections_take_turns() {
        let due = |number, asked| Pace::of(1_000.0, number, 4).due(asked).as_millis();
        assert_eq!([due(0, 0), due(3, 0), due(0, 1), due(2, 10)], [0, 3, 4, 42]);
    }
}
