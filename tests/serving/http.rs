//! Every recorded pair over HTTP, asked again.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::caller::{Answer, Caller};
use crate::differences::{self, Ours};
use crate::recorded::{Pair, pairs};
use crate::site::{Mode, Site};
use crate::table::Table;

#[test]
fn recorded_requests_are_answered_as_the_list_of_differences_says() -> Result<()> {
    replay(Mode::Strict)
}

#[test]
fn recorded_requests_are_answered_as_feast_does_when_that_is_wanted() -> Result<()> {
    replay(Mode::Compat)
}

fn replay(mode: Mode) -> Result<()> {
    let site = Site::recorded(mode)?;
    let server = site.serve()?;
    let caller = Caller::new(server.http())?;
    let mut wrong = Vec::new();
    for pair in pairs()? {
        match caller.ask(&pair.request) {
            Ok(answer) => {
                if let Err(reason) = judge(&pair, &answer, mode) {
                    wrong.push(format!("{}: {reason:#}\n  {answer:?}", pair.name));
                }
            }
            Err(error) => wrong.push(format!("{}: {error:#}\n{}", pair.name, server.log())),
        }
    }
    ensure!(wrong.is_empty(), "{} pairs, {mode:?}:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// Holds an answer to Feast's, or to the list.
fn judge(pair: &Pair, answer: &Answer, mode: Mode) -> Result<()> {
    let same = is_same(&pair.answer, answer, mode);
    let Some(difference) = differences::find(&pair.name, mode) else {
        ensure!(same?, "not what Feast answered: {:?}", pair.answer);
        return Ok(());
    };
    // What cannot even be compared is not the same.
    ensure!(!same.unwrap_or(false), "it is listed as a difference, and is none any more");
    match difference.ours {
        Ours::Problem(status, code) => {
            let found = answer.problem()?;
            let wanted = (status, code.to_owned());
            ensure!(found == wanted, "{found:?} instead of {wanted:?}");
        }
        Ours::Status(status) => {
            ensure!(answer.status == status, "{} instead of {status}", answer.status);
        }
        Ours::Statuses(columns) => {
            let wanted = Table::read(&pair.answer.body)?.with_statuses(columns)?;
            same_rows(answer, wanted, mode)?;
        }
        Ours::Answer(body, _) => same_rows(answer, Table::read(body)?, mode)?,
        Ours::Code(code) => anyhow::bail!("`{code}` is no answer over HTTP"),
    }
    Ok(())
}

fn same_rows(answer: &Answer, wanted: Table, mode: Mode) -> Result<()> {
    ensure!(answer.status == 200, "{} instead of 200", answer.status);
    let (found, wanted) = (comparable(&answer.body, mode)?, in_order(wanted, mode)?);
    ensure!(found == wanted, "not the rows that are listed: {wanted:?}");
    Ok(())
}

/// Tells whether two answers say the same: to a byte in each value where the server is to be
/// Feast, and otherwise as JSON.
fn is_same(feast: &Answer, ours: &Answer, mode: Mode) -> Result<bool> {
    if (feast.status, &feast.media_type) != (ours.status, &ours.media_type) {
        return Ok(false);
    }
    if feast.body.starts_with("{\"results\":") {
        return Ok(comparable(&feast.body, mode)? == comparable(&ours.body, mode)?);
    }
    Ok(meaning(&feast.body)? == meaning(&ours.body)?)
}

fn comparable(body: &str, mode: Mode) -> Result<Table> {
    in_order(Table::read(body)?, mode)
}

fn in_order(table: Table, mode: Mode) -> Result<Table> {
    let table = table.sorted();
    match mode {
        Mode::Strict => table.respelled(),
        Mode::Compat => Ok(table),
    }
}

/// What a body says to Feast's own clients, who read JSON inside a JSON text. `None`: it is empty.
fn meaning(body: &str) -> Result<Option<Value>> {
    if body.is_empty() {
        return Ok(None);
    }
    let outer: Value = serde_json::from_str(body).with_context(|| format!("no JSON: {body}"))?;
    let inner = outer.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(mut inner) = inner.filter(Value::is_object) else { return Ok(Some(outer)) };
    // The client makes an exception of the class; the message is for people.
    ensure!(inner["message"].is_string(), "no message: {body}");
    inner["message"] = Value::Null;
    Ok(Some(inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::PROBLEM;

    fn recorded(name: &str) -> Result<Pair> {
        pairs()?.into_iter().find(|pair| pair.name == name).context("it was recorded")
    }

    #[test]
    fn feasts_own_answers_are_right_wherever_nothing_is_listed() -> Result<()> {
        for pair in pairs()? {
            for mode in Mode::BOTH {
                let judged = judge(&pair, &pair.answer, mode);
                let is_listed = differences::find(&pair.name, mode).is_some();
                assert_eq!(judged.is_err(), is_listed, "{} {mode:?}: {judged:?}", pair.name);
            }
        }
        Ok(())
    }

    #[test]
    fn columns_may_change_places_and_nothing_else_may() -> Result<()> {
        let pair = recorded("http/composite_plus_single")?;
        let mut other = pair.answer.clone();
        let mut body: Value = serde_json::from_str(&other.body)?;
        body["results"].as_array_mut().context("columns")?.swap(2, 3);
        body["metadata"]["feature_names"].as_array_mut().context("names")?.swap(2, 3);
        other.body = body.to_string();
        assert!(is_same(&pair.answer, &other, Mode::Compat)?);
        body["results"][2]["values"][0] = Value::from(1);
        other.body = body.to_string();
        assert!(!is_same(&pair.answer, &other, Mode::Strict)?);
        Ok(())
    }

    #[test]
    fn a_spelling_of_a_number_matters_only_where_feast_is_wanted() -> Result<()> {
        let pair = recorded("http/basic_multi_dup_missing")?;
        let mut other = pair.answer.clone();
        other.body = other.body.replace("1e+300", "1e300");
        assert!(!is_same(&pair.answer, &other, Mode::Compat)?);
        assert!(is_same(&pair.answer, &other, Mode::Strict)?);
        Ok(())
    }

    #[test]
    fn a_class_inside_a_text_is_read_as_feasts_client_reads_it() -> Result<()> {
        let pair = recorded("http/fs_joinkey")?;
        let mut other = pair.answer.clone();
        other.body = other.body.replace("Duplicate features", "Other words for them");
        assert_ne!(other.body, pair.answer.body);
        assert!(is_same(&pair.answer, &other, Mode::Compat)?);
        let mut another = other.clone();
        another.body = other.body.replace("FeatureNameCollisionError", "AnotherError");
        assert!(!is_same(&pair.answer, &another, Mode::Compat)?);
        other.media_type = Some(PROBLEM.to_owned());
        assert!(!is_same(&pair.answer, &other, Mode::Compat)?);
        Ok(())
    }
}
