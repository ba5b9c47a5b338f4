//! How a search is run, and what it says about itself.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

use crate::action::Action;
use crate::part::{Part, Parts};
use crate::protocol::Protocol;
use crate::scenario::Scenario;

/// Searches all of a scenario with all parts: every property holds, and what it is about happens.
pub(crate) fn holds(scenario: Scenario) {
    holds_with(Parts::ALL, scenario);
}

/// The same with some of the parts.
pub(crate) fn holds_with(parts: Parts, scenario: Scenario) {
    let checker = Protocol { parts, scenario }.checker().spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    say(&format!("{}: {states} states, at most {depth} steps", scenario.name));
    for (property, path) in checker.discoveries() {
        let is_reached = checker.model().property(property).expectation;
        assert!(
            !is_reached.discovery_is_failure(),
            "{}: not so: {property}\n{}",
            scenario.name,
            trace(path.into_actions())
        );
    }
    for property in scenario.reaches {
        assert!(checker.discovery(property).is_some(), "{}: never: {property}", scenario.name);
    }
}

/// Finds the shortest way in which a property breaks without a part.
pub(crate) fn breaks(parts: Parts, scenario: Scenario, property: &'static str) -> Vec<Action> {
    let checker = Protocol { parts, scenario }
        .checker()
        .finish_when(HasDiscoveries::AnyOf(BTreeSet::from([property])))
        .spawn_bfs()
        .join();
    let path = checker.discovery(property);
    let states = checker.unique_state_count();
    let Some(path) = path else {
        panic!("{}: held in all of {states} states: {property}", scenario.name);
    };
    path.into_actions()
}

/// Says what a part is for: how the property breaks without it.
pub(crate) fn is_needed(part: Part, scenario: Scenario, property: &'static str) {
    let actions = breaks(Parts::ALL.without(part), scenario, property);
    say(&format!("without {part:?}, {}, not so: {property}\n{}", scenario.name, trace(actions)));
}

fn trace(actions: Vec<Action>) -> String {
    actions.into_iter().map(|action| format!("    {action:?}\n")).collect()
}

/// For `--nocapture`: how much was searched is part of the claim.
#[allow(clippy::print_stdout, reason = "the test runner keeps it until it is asked for")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}
