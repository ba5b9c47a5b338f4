//! From the latencies of our own writes to a rate that the server keeps up with.
//!
//! Pure; every time is passed in. Additive increase, multiplicative decrease, judged a window at a
//! time: one slow answer, such as behind a fork, is no reason to slow down.

use std::time::Duration;

use tokio::time::Instant;

/// Windows above the limit, one after the other, before writing slows down.
const SLOW_WINDOWS: u32 = 2;
/// What remains of the rate after each slow window: enough less for a queue to drain.
const DECREASE: f64 = 0.75;
/// What each good window adds, of the rate before slowing: back within ten windows.
const INCREASE: f64 = 0.1;
/// The least that remains of the rate before slowing. Where even this does not bring the latency
/// down, it is the network's or somebody else's doing, and going slower would help nobody.
const SHARE_MIN: f64 = 0.05;
/// The limit binds no more when the writers use less than this of it.
const USE_MIN: f64 = 0.5;

/// A change that an operator should hear of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    /// Writing slows down.
    Slowing {
        /// The mean latency of the last window.
        latency: Duration,
        /// Rows a second from now on.
        rows_per_second: f64,
    },
    /// Writing is held back no longer.
    Recovered,
}

/// Watches latencies and holds back while they stay above the limit.
#[derive(Debug)]
pub(super) struct Governor {
    latency_max: Duration,
    window: Window,
    slow_windows: u32,
    held: Option<Held>,
}

/// Answers since the last judgement.
#[derive(Debug)]
struct Window {
    start: Instant,
    rows: u64,
    row_seconds: f64,
}

/// Rows a second, now and before slowing.
#[derive(Clone, Copy, Debug)]
struct Held {
    rate: f64,
    before: f64,
}

impl Governor {
    pub(super) fn new(latency_max: Duration, now: Instant) -> Self {
        let window = Window { start: now, rows: 0, row_seconds: 0.0 };
        Self { latency_max, window, slow_windows: 0, held: None }
    }

    /// Rows a second; `None` while nothing is held back.
    pub(super) fn rate(&self) -> Option<f64> {
        self.held.map(|held| held.rate)
    }

    /// Takes in one answer, and judges when a window is full.
    pub(super) fn observe(
        &mut self,
        rows: usize,
        latency: Duration,
        now: Instant,
    ) -> Option<Change> {
        if self.window.rows == 0 {
            // Time in which nothing was asked says nothing about the server.
            let asked = now.checked_sub(latency).unwrap_or(now);
            self.window.start = self.window.start.max(asked);
        }
        self.window.rows += rows as u64;
        self.window.row_seconds += rows as f64 * latency.as_secs_f64();
        if self.window.rows == 0 {
            return None;
        }
        let mean = self.window.row_seconds / self.window.rows as f64;
        let elapsed = now.saturating_duration_since(self.window.start).as_secs_f64();
        // What a judgement changes shows only after the answers that were under way by then.
        if elapsed < mean.max(self.latency_max.as_secs_f64()) {
            return None;
        }
        let throughput = self.window.rows as f64 / elapsed;
        self.window = Window { start: now, rows: 0, row_seconds: 0.0 };
        if mean > self.latency_max.as_secs_f64() {
            self.slow_window(mean, throughput)
        } else {
            self.good_window(throughput)
        }
    }

    fn slow_window(&mut self, mean: f64, throughput: f64) -> Option<Change> {
        self.slow_windows += 1;
        if let Some(held) = &mut self.held {
            let rate = held.rate.min(throughput) * DECREASE;
            held.rate = rate.max(held.before * SHARE_MIN);
            return None;
        }
        if self.slow_windows < SLOW_WINDOWS {
            return None;
        }
        let rows_per_second = throughput * DECREASE;
        self.held = Some(Held { rate: rows_per_second, before: throughput });
        Some(Change::Slowing { latency: Duration::from_secs_f64(mean), rows_per_second })
    }

    fn good_window(&mut self, throughput: f64) -> Option<Change> {
        self.slow_windows = 0;
        let held = self.held.as_mut()?;
        if throughput < held.rate * USE_MIN {
            self.held = None;
            return Some(Change::Recovered);
        }
        held.rate += held.rate.max(held.before) * INCREASE;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const LIMIT: Duration = Duration::from_millis(500);
    const ROWS: usize = 100;

    /// A server that carries out so many rows a second, one call after the other.
    struct Server {
        now: Instant,
        /// When it is done with what it has been given.
        done: Instant,
        /// When the next call may be handed over.
        next: Instant,
        /// Calls that wait for their answers: when they were handed over and will be done.
        under_way: VecDeque<(Instant, Instant)>,
    }

    /// What writers saw of a server.
    struct Seen {
        changes: Vec<Change>,
        /// The greatest latency of the last tenth of the time.
        latency: Duration,
        rows_per_second: f64,
    }

    impl Server {
        /// Hands over calls as the governor lets them go, with at most `calls` under way.
        fn run(
            &mut self,
            governor: &mut Governor,
            calls: usize,
            capacity: f64,
            time: Duration,
        ) -> Seen {
            let (begun, end) = (self.now, self.now + time);
            let mut seen = Seen { changes: vec![], latency: Duration::ZERO, rows_per_second: 0.0 };
            while self.now < end {
                let answer = self.under_way.front().map(|&(_, done)| done);
                let handed = self.next.max(self.now);
                if self.under_way.len() < calls && answer.is_none_or(|answer| handed < answer) {
                    self.now = handed;
                    let pause = governor.rate().map_or(0.0, |rate| ROWS as f64 / rate);
                    self.next = handed + Duration::from_secs_f64(pause);
                    let work = Duration::from_secs_f64(ROWS as f64 / capacity);
                    self.done = self.done.max(handed) + work;
                    self.under_way.push_back((handed, self.done));
                    continue;
                }
                let (handed, done) = self.under_way.pop_front().expect("calls are under way");
                self.now = done;
                seen.rows_per_second += ROWS as f64;
                if end.saturating_duration_since(done) < time / 10 {
                    seen.latency = seen.latency.max(done - handed);
                }
                seen.changes.extend(governor.observe(ROWS, done - handed, done));
            }
            seen.rows_per_second /= (self.now - begun).as_secs_f64();
            seen
        }
    }

    fn start() -> (Governor, Server) {
        let now = Instant::now();
        let server = Server { now, done: now, next: now, under_way: VecDeque::new() };
        (Governor::new(LIMIT, now), server)
    }

    #[test]
    fn a_healthy_server_is_left_alone() {
        let (mut governor, mut server) = start();
        // 64 calls of 100 rows at 20,000 rows a second: 320 ms of our own queue.
        let seen = server.run(&mut governor, 64, 20_000.0, MINUTE);
        assert_eq!(seen.changes, []);
        assert!(seen.rows_per_second > 19_900.0, "{}", seen.rows_per_second);
    }

    #[test]
    fn one_stall_is_forgiven() {
        let (mut governor, mut server) = start();
        server.run(&mut governor, 8, 20_000.0, MINUTE);
        server.done += Duration::from_secs(2);
        server.under_way.iter_mut().for_each(|(_, done)| *done += Duration::from_secs(2));
        let seen = server.run(&mut governor, 8, 20_000.0, MINUTE);
        assert_eq!(seen.changes, []);
    }

    #[test]
    fn a_slow_server_gets_less_until_its_answers_are_in_time() {
        let (mut governor, mut server) = start();
        // 64 calls of 100 rows at 2,000 rows a second: 3.2 s of queue.
        let seen = server.run(&mut governor, 64, 2_000.0, MINUTE);
        assert!(matches!(seen.changes[0], Change::Slowing { .. }), "{:?}", seen.changes);
        assert_eq!(seen.changes.len(), 1, "{:?}", seen.changes);
        assert!(seen.latency < 3 * LIMIT, "{:?}", seen.latency);
        assert!(seen.rows_per_second > 1_500.0, "{}: it is not starved", seen.rows_per_second);
        let seen = server.run(&mut governor, 64, 200_000.0, MINUTE);
        assert_eq!(seen.changes, [Change::Recovered]);
        assert_eq!(governor.rate(), None);
    }

    #[test]
    fn a_latency_that_slowing_does_not_mend_leaves_a_share_of_the_rate() {
        let (mut governor, mut server) = start();
        let before = 1_000.0;
        for _ in 0..1_000 {
            server.now += Duration::from_millis(100);
            governor.observe(ROWS, 3 * LIMIT, server.now);
        }
        let rate = governor.rate().expect("it is held back");
        assert!(rate >= before * SHARE_MIN * 0.9 && rate < before * DECREASE, "{rate}");
    }

    #[test]
    fn calls_without_rows_say_nothing() {
        let (mut governor, mut server) = start();
        for _ in 0..100 {
            server.now += LIMIT;
            assert_eq!(governor.observe(0, 3 * LIMIT, server.now), None);
        }
        assert_eq!(governor.rate(), None);
    }
}
