//! One history: a drawn sequence of runs with faults among them, the recovery, and the verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::thread;
use std::time::Duration;

use ::tests::dice::Dice;
use anyhow::{Context, Result, bail, ensure};
use api::{Rerun, RerunState, RunDetail, RunRequest};
use model::{EventTime, RunKind, RunState};

use crate::check;
use crate::fault::{Fault, STEPS};
use crate::inject;
use crate::oracle::{FILE_HOURS, HOURS, hour_nanos};
use crate::scheduler::{LEASE_TTL, Scheduler, accepted};
use crate::source::{VIEWS, write_file};
use crate::stored;
use crate::world::{World, wait_for};

/// How long a run may take to end on its own, with every fault undone.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a fault that waits for the run to end lasts at most.
const TAKEOVER_MAX: Duration = Duration::from_secs(15);
/// Rounds of a recovery: one notices what was lost, one makes it good, one finds nothing to do.
const ROUNDS_MAX: u32 = 5;

/// A history under way.
pub(crate) struct History<'a> {
    pub(crate) world: World<'a>,
    dice: Dice,
    name: String,
    /// What happened, for the report of a violation.
    pub(crate) told: String,
    /// Faults that were begun, and those of them that came too late or never.
    pub(crate) faults: u64,
    pub(crate) missed: u64,
    keys: Vec<String>,
    last_run: Option<String>,
    /// Everything below this hour was asked for.
    hours: i64,
    /// Files that were edited and not corrected yet, by view.
    edited: BTreeMap<usize, BTreeSet<i64>>,
    /// Whether rows were taken out of the store and not written again yet.
    is_robbed: bool,
    watermarks: BTreeMap<String, i64>,
    /// A fault that ends after the next step.
    lingering: Option<Fault>,
}

/// What a step asks for.
struct Ask {
    request: RunRequest,
    /// A view and a file of it that the request corrects.
    corrects: Option<(usize, i64)>,
}

impl<'a> History<'a> {
    pub(crate) fn new(world: World<'a>, dice: Dice, name: &str) -> Self {
        Self {
            world,
            dice,
            name: name.to_owned(),
            told: String::new(),
            faults: 0,
            missed: 0,
            keys: Vec::new(),
            last_run: None,
            hours: 0,
            edited: BTreeMap::new(),
            is_robbed: false,
            watermarks: BTreeMap::new(),
            lingering: None,
        }
    }

    /// Goes through it.
    ///
    /// # Errors
    /// What does not hold.
    pub(crate) fn run(&mut self, faults: &[Fault]) -> Result<()> {
        let durable = if self.world.is_durable { "keeps its data" } else { "forgets" };
        self.tell(&format!("Redis {durable} when it is killed"));
        for fault in faults {
            if self.lingering.is_some() {
                self.step_with_lingering()?;
                self.check_at_rest()?;
            }
            let ask = self.draw_ask()?;
            self.step(ask, *fault)?;
            self.check_at_rest()?;
        }
        self.end_lingering()?;
        self.recover().context("in the recovery")?;
        self.check_at_rest()?;
        self.check_settled().context("in the end")
    }

    fn tell(&mut self, what: &str) {
        // Writing to a text cannot fail.
        writeln!(self.told, "  {what}").ok();
    }

    fn draw_ask(&mut self) -> Result<Ask> {
        match self.dice.below(8) {
            0..3 => Ok(self.incremental()),
            3 | 4 => Ok(self.interval()),
            5 => Ok(self.rerun()),
            _ => self.correct(),
        }
    }

    fn incremental(&mut self) -> Ask {
        let end = self.dice.between((self.hours + 1).min(HOURS), HOURS + 1);
        self.hours = self.hours.max(end);
        let mut request = RunRequest::new(RunKind::Incremental);
        request.end = Some(hour(end));
        self.drawn(request)
    }

    fn interval(&mut self) -> Ask {
        let start = self.dice.between(0, HOURS - FILE_HOURS);
        let end = self.dice.between(start + FILE_HOURS, HOURS + 1);
        self.hours = self.hours.max(end);
        let mut request = RunRequest::new(RunKind::Interval);
        (request.start, request.end) = (Some(hour(start)), Some(hour(end)));
        self.drawn(request)
    }

    fn rerun(&mut self) -> Ask {
        let mut request = RunRequest::new(RunKind::Rerun);
        let last = self.last_run.clone().filter(|_| self.dice.once_in(2));
        if let Some(id) = last.and_then(|id| id.parse().ok()) {
            request.rerun = Some(Rerun::RunId(id));
            return Ask { request, corrects: None };
        }
        let states = [RerunState::Missing, RerunState::Failed, RerunState::All];
        request.rerun = Some(Rerun::State(*self.dice.one(&states)));
        let end = self.hours.max(1);
        (request.start, request.end) = (Some(hour(0)), Some(hour(end)));
        self.hours = end;
        self.drawn(request)
    }

    /// Edits a file of a view and asks for its correction.
    fn correct(&mut self) -> Result<Ask> {
        let view = usize::try_from(self.dice.below(VIEWS.len() as u64))?;
        self.world.watcher.excuse(view);
        let file = self.world.sources[view].edit(&mut self.dice);
        write_file(&self.world.repo, VIEWS[view].0, &self.world.sources[view], file)?;
        self.edited.entry(view).or_default().insert(file);
        self.tell(&format!("file {file} of `{}` is edited", VIEWS[view].0));
        self.hours = self.hours.max((file + 1) * FILE_HOURS);
        Ok(correction(view, file))
    }

    /// Draws what any request may have besides.
    fn drawn(&mut self, mut request: RunRequest) -> Ask {
        if self.dice.once_in(3) {
            request.views = vec![self.dice.one(&VIEWS).0.to_owned()];
        }
        // Several windows mostly, so that a run lasts, and faults fall between them too.
        request.window = self.dice.one(&[None, Some("3h"), Some("6h")]).map(str::to_owned);
        request.newest_first = self.dice.once_in(4);
        Ask { request, corrects: None }
    }

    /// One run, and one fault.
    fn step(&mut self, ask: Ask, fault: Fault) -> Result<()> {
        self.faults += 1;
        if inject::loses_rows(&self.world, fault) {
            self.is_robbed = true;
            self.world.watcher.excuse_all();
        }
        let key = self.key();
        let detail = match fault {
            Fault::KillAtStep(step) => self.killed_at(step, &ask, &key)?,
            _ if self.dice.once_in(4) => self.fault_first(&ask, &key, fault)?,
            _ => self.fault_within(&ask, &key, fault)?,
        };
        self.note(&ask, &detail);
        Ok(())
    }

    /// A step that only corrects, before a fault of the step before ends: what an old attempt has
    /// under way arrives when rows of the source have been withdrawn and replaced.
    fn step_with_lingering(&mut self) -> Result<()> {
        let ask = self.correct()?;
        let key = self.key();
        let run = self.submit(&ask.request, &key)?;
        let detail = self.finish(&run)?;
        self.end_lingering()?;
        self.note(&ask, &detail);
        Ok(())
    }

    fn end_lingering(&mut self) -> Result<()> {
        let Some(fault) = self.lingering.take() else { return Ok(()) };
        self.tell(&format!("{fault} ends"));
        inject::end(&mut self.world, fault)?;
        self.let_others_finish();
        Ok(())
    }

    fn killed_at(&mut self, step: usize, ask: &Ask, key: &str) -> Result<RunDetail> {
        let (name, passes) = STEPS[step];
        let fail_at = format!("{name}:{}", 1 + self.dice.below(passes));
        self.tell(&format!("a scheduler will kill itself at {fail_at}"));
        self.world.scheduler = None;
        let doomed = self.world.start(Some(&fail_at))?;
        let pid = doomed.pid();
        self.world.scheduler = Some(doomed);
        let run = self.submit(&ask.request, key)?;
        let detail = self.finish(&run)?;
        if self.world.scheduler()?.pid() == pid {
            self.missed += 1;
            self.tell("it did not come to that");
            // It would kill itself in some later step.
            self.world.scheduler = None;
        }
        Ok(detail)
    }

    /// The fault has begun when the run is asked for.
    fn fault_first(&mut self, ask: &Ask, key: &str, fault: Fault) -> Result<RunDetail> {
        self.world.scheduler()?;
        self.tell(&format!("{fault}, and then:"));
        inject::begin(&mut self.world, fault)?;
        // Whatever comes of it now, it is asked for again under the same key.
        if let Some(scheduler) = &self.world.scheduler {
            scheduler.submit(&ask.request, key).ok();
        }
        thread::sleep(fault.length(&mut self.dice));
        inject::end(&mut self.world, fault)?;
        let run = self.submit(&ask.request, key)?;
        let detail = self.finish(&run)?;
        self.let_others_finish();
        Ok(detail)
    }

    /// The fault begins at some moment of the run.
    fn fault_within(&mut self, ask: &Ask, key: &str, fault: Fault) -> Result<RunDetail> {
        const LATEST: Duration = Duration::from_millis(1_200);
        let run = self.submit(&ask.request, key)?;
        // Rather early than late: some runs are short.
        let moment = LATEST.mul_f64(self.dice.fraction().powi(2));
        if let Some(detail) = self.wait_for_end(&run, moment)? {
            self.missed += 1;
            self.tell(&format!("{fault} came too late"));
            return Ok(detail);
        }
        self.tell(&format!("{fault} after {moment:?}"));
        inject::begin(&mut self.world, fault)?;
        if fault == Fault::TwoSchedulers {
            self.ask_the_other(&ask.request)?;
        }
        thread::sleep(fault.length(&mut self.dice));
        if matches!(fault, Fault::Freeze | Fault::KillWithWritesUnderWay) {
            self.world.scheduler()?;
            self.wait_for_end(&run, TAKEOVER_MAX)?;
            if self.dice.once_in(2) {
                self.tell("which lingers");
                self.lingering = Some(fault);
                return self.finish(&run);
            }
        }
        inject::end(&mut self.world, fault)?;
        let detail = self.finish(&run)?;
        self.let_others_finish();
        Ok(detail)
    }

    /// The other scheduler is asked for the same, as another run.
    fn ask_the_other(&mut self, request: &RunRequest) -> Result<()> {
        let key = self.key();
        let other = self.world.others.last().context("there are two")?;
        let answer = other.submit(request, &key).ok();
        let run = match answer.as_ref().map(accepted).transpose()?.flatten() {
            Some(run) => run.run_id.to_string(),
            None => self.submit(request, &key)?,
        };
        let detail = self.finish(&run)?;
        self.tell(&format!("the other's run {run} is {}", detail.run.state));
        Ok(())
    }

    /// Others go on for a moment, since what they do too late is what matters, and then end.
    fn let_others_finish(&mut self) {
        if !self.world.others.is_empty() {
            let moment = self.dice.duration(Duration::ZERO, LEASE_TTL);
            thread::sleep(moment);
            self.world.others.clear();
        }
    }

    fn key(&mut self) -> String {
        let key = format!("{}-{}", self.name, self.keys.len());
        self.keys.push(key.clone());
        key
    }

    /// Asks for a run until somebody takes it, under one key; gives its id.
    fn submit(&mut self, request: &RunRequest, key: &str) -> Result<String> {
        let asked = serde_json::to_string(request)?;
        self.tell(&format!("{key}: {asked}"));
        let taken = wait_for(PATIENCE, || {
            // A scheduler that dies before it answers is replaced, and asked the same again.
            let Ok(answer) = self.world.scheduler()?.submit(request, key) else { return Ok(None) };
            accepted(&answer)
        })?;
        let run = taken.with_context(|| format!("nobody takes {asked}"))?.run_id.to_string();
        self.last_run = Some(run.clone());
        Ok(run)
    }

    fn wait_for_end(&mut self, run: &str, patience: Duration) -> Result<Option<RunDetail>> {
        let ended = wait_for(patience, || {
            let detail = self.world.scheduler()?.run(run);
            Ok(detail.ok().filter(|detail| detail.run.state.is_ended()))
        })?;
        // Of what landed as a whole nothing is left to run again, and asking for it is refused.
        if ended.as_ref().is_some_and(|detail| detail.run.state == RunState::Succeeded) {
            self.last_run = None;
        }
        Ok(ended)
    }

    fn finish(&mut self, run: &str) -> Result<RunDetail> {
        let ended = self.wait_for_end(run, PATIENCE)?;
        ended.with_context(|| format!("run {run} does not end within {PATIENCE:?}"))
    }

    /// Notes how a run ended.
    fn note(&mut self, ask: &Ask, detail: &RunDetail) {
        let state = detail.run.state;
        self.tell(&format!("run {} is {state}", detail.run.run_id));
        for warning in &detail.warnings {
            self.tell(&format!("  warning: {warning}"));
        }
        for job in &detail.jobs {
            if let Some(reason) = &job.reason {
                self.tell(&format!("  {}: {}: {reason}", job.view, job.state));
            }
        }
        if let Some((view, file)) = ask.corrects.filter(|_| state == RunState::Succeeded) {
            let left = self.edited.entry(view).or_default();
            left.remove(&file);
            if left.is_empty() {
                self.edited.remove(&view);
            }
        }
        if !self.is_robbed && self.lingering.is_none() {
            let settled = (0..VIEWS.len()).filter(|view| !self.edited.contains_key(view));
            settled.for_each(|view| self.world.watcher.hold_to_account(view));
        }
    }

    /// What holds between runs, whatever has failed.
    fn check_at_rest(&mut self) -> Result<()> {
        self.world.watcher.verdict()?;
        // First what is claimed, then what is there.
        let coverage = self.world.coverage()?;
        check::watermarks_grow(&mut self.watermarks, &coverage)?;
        if self.is_robbed {
            return Ok(());
        }
        let stored = stored::read(&self.world.redis)?;
        for (name, known) in &coverage {
            let view = check::place_of(name)?;
            if !self.edited.contains_key(&view) {
                let source = &self.world.sources[view];
                check::has_landed(view, source, &known.intervals, &stored)?;
            }
        }
        Ok(())
    }

    /// Asks for everything again until it has landed and can be trusted.
    fn recover(&mut self) -> Result<()> {
        self.tell("recovery");
        self.world.others.clear();
        self.world.scheduler = None;
        self.hours = self.hours.max(1);
        let mut reasons = String::new();
        for _ in 0..ROUNDS_MAX {
            reasons.clear();
            for ask in self.everything() {
                let key = self.key();
                let run = self.submit(&ask.request, &key)?;
                let detail = self.finish(&run)?;
                self.note(&ask, &detail);
                if detail.run.state != RunState::Succeeded {
                    writeln!(reasons, "run {run} is {}", detail.run.state)?;
                }
            }
            let lost = self.lost_views()?;
            if lost.is_empty() && reasons.is_empty() {
                self.is_robbed = false;
                return Ok(());
            }
            if !lost.is_empty() {
                self.rebuild(lost)?;
            }
        }
        bail!("it does not settle in {ROUNDS_MAX} rounds: {reasons}")
    }

    /// Corrections that are due, what is missing, and the rest.
    fn everything(&self) -> Vec<Ask> {
        let due =
            self.edited.iter().flat_map(|(view, files)| files.iter().map(|file| (*view, *file)));
        let mut asks: Vec<Ask> = due.map(|(view, file)| correction(view, file)).collect();
        let mut missing = RunRequest::new(RunKind::Rerun);
        missing.rerun = Some(Rerun::State(RerunState::Missing));
        (missing.start, missing.end) = (Some(hour(0)), Some(hour(self.hours)));
        let mut rest = RunRequest::new(RunKind::Incremental);
        rest.end = Some(hour(self.hours));
        asks.extend([missing, rest].map(|request| Ask { request, corrects: None }));
        asks
    }

    /// The views of which the program says that their rows may be gone.
    fn lost_views(&mut self) -> Result<Vec<String>> {
        let status = wait_for(PATIENCE, || Ok(self.world.scheduler()?.views().ok()))?;
        Ok(check::lost(&status.context("nobody tells of the views")?))
    }

    /// Writes what has landed once more.
    fn rebuild(&mut self, views: Vec<String>) -> Result<()> {
        self.tell(&format!("lost: {views:?}"));
        let mut request = RunRequest::new(RunKind::Rerun);
        request.rerun = Some(Rerun::State(RerunState::All));
        (request.start, request.end) = (Some(hour(0)), Some(hour(self.hours)));
        request.rebuild = true;
        request.views = views;
        let key = self.key();
        let run = self.submit(&request, &key)?;
        let detail = self.finish(&run)?;
        self.note(&Ask { request, corrects: None }, &detail);
        Ok(())
    }

    /// What holds in the end.
    fn check_settled(&mut self) -> Result<()> {
        let held = wait_for(LEASE_TTL * 4, || {
            let status = self.world.scheduler()?.views();
            Ok(status.ok().filter(|status| check::nothing_is_held(status).is_ok()))
        })?;
        ensure!(held.is_some(), "a view stays held after everything has ended");
        let scheduler = self.world.scheduler()?;
        let details = |scheduler: &Scheduler| -> Result<Vec<RunDetail>> {
            let runs = scheduler.runs()?;
            runs.iter().map(|run| scheduler.run(&run.run_id.to_string())).collect()
        };
        let runs = details(scheduler)?;
        check::keys_make_one_run(&runs, &self.keys)?;
        check::is_settled(&self.world, &runs, self.hours)
    }
}

/// A request that corrects one file of a view.
fn correction(view: usize, file: i64) -> Ask {
    let mut request = RunRequest::new(RunKind::Interval);
    (request.start, request.end) =
        (Some(hour(file * FILE_HOURS)), Some(hour((file + 1) * FILE_HOURS)));
    request.correct = true;
    request.views = vec![VIEWS[view].0.to_owned()];
    Ask { request, corrects: Some((view, file)) }
}

fn hour(hour: i64) -> EventTime {
    EventTime::from_nanos(hour_nanos(hour))
}
