//! What the feature servers are asked, and what they must answer.
//!
//! Requests are made before anything is measured. An answer is checked in full: a fast wrong answer
//! is no answer.

use anyhow::{Context, Result, bail, ensure};
use feast::value::Value as Feature;
use serde_json::Value;

use crate::hash::{JOIN_KEY, mix};
use crate::http::post;
use crate::served::{Served, Service};

/// The path at both servers.
const PATH: &str = "/get-online-features";

/// A request for some entities of a service.
#[derive(Clone, Debug)]
pub struct Question {
    bytes: Vec<u8>,
    indices: Vec<usize>,
}

impl Question {
    /// So many requests, each for as many entities as `entities` chosen at random.
    #[must_use]
    pub fn draw(served: &Served, service: Service, entities: usize, count: usize) -> Vec<Self> {
        let of = served.entities(service) as u64;
        let one = |question: usize| {
            let index = |entity: usize| (mix((question * entities + entity) as u64) % of) as usize;
            Self::of(served, service, (0..entities).map(index).collect())
        };
        (0..count).map(one).collect()
    }

    fn of(served: &Served, service: Service, indices: Vec<usize>) -> Self {
        let keys: Vec<String> =
            indices.iter().map(|&index| served.key(service, index).to_string()).collect();
        let body = format!(
            "{{\"feature_service\":\"{}\",\"entities\":{{\"{JOIN_KEY}\":[{}]}}}}",
            service.name(),
            keys.join(",")
        );
        Self { bytes: post(PATH, &body), indices }
    }

    /// What a server answers without a look at anything: the cost of HTTP alone.
    #[must_use]
    pub fn nothing() -> Self {
        let bytes = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
        Self { bytes, indices: Vec::new() }
    }

    #[cfg(test)]
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes, indices: Vec::new() }
    }

    /// The request as it is sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks an answer: its names, every value, and that every status is `PRESENT`.
    ///
    /// # Errors
    /// When anything is missing, wrong or too much.
    pub fn check(&self, served: &Served, service: Service, answer: &[u8]) -> Result<()> {
        let answer: Value = serde_json::from_slice(answer).context("the answer is no JSON")?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let names = list(&answer["metadata"]["feature_names"]);
        let columns = list(&answer["results"]);
        let features = service.features();
        ensure!(columns.len() == features.len() + 1, "{} columns", columns.len());
        ensure!(names.len() == columns.len(), "{} names", names.len());
        let column = |name: &str| {
            let at = names.iter().position(|found| found == name);
            at.map(|at| &columns[at]).with_context(|| format!("there is no `{name}`"))
        };
        let keys = self.indices.iter().map(|&index| Feature::Int64(served.key(service, index)));
        check_column(column(JOIN_KEY)?, keys.collect()).context(JOIN_KEY)?;
        let rows: Vec<Vec<Feature>> =
            self.indices.iter().map(|&index| served.values(service, index)).collect();
        for (at, name) in features.iter().enumerate() {
            let wanted = rows.iter().map(|row| row[at].clone()).collect();
            check_column(column(name)?, wanted).with_context(|| name.clone())?;
        }
        Ok(())
    }
}

fn check_column(column: &Value, wanted: Vec<Feature>) -> Result<()> {
    for list in ["values", "statuses", "event_timestamps"] {
        let length = column[list].as_array().map_or(0, Vec::len);
        ensure!(length == wanted.len(), "{length} {list}, not {}", wanted.len());
    }
    for (row, wanted) in wanted.iter().enumerate() {
        let (value, status) = (&column["values"][row], &column["statuses"][row]);
        let is_right = match wanted {
            Feature::Int64(wanted) => value.as_i64() == Some(*wanted),
            // Written as float32 or as the float64 of the same number.
            Feature::Float(wanted) => value.as_f64().is_some_and(|value| value as f32 == *wanted),
            other => bail!("no feature here is like {other:?}"),
        };
        ensure!(is_right && status == "PRESENT", "{value} ({status}), not {wanted:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn served() -> Served {
        Served::new(50)
    }

    /// What a good server answers.
    fn answer(question: &Question) -> Value {
        let json = |value: &Feature| match value {
            Feature::Int64(value) => json!(value),
            Feature::Float(value) => json!(value),
            other => panic!("{other:?}"),
        };
        let rows: Vec<Vec<Feature>> =
            question.indices.iter().map(|&index| served().values(Service::Stats, index)).collect();
        let column = |values: Vec<Value>| {
            let present = vec!["PRESENT"; values.len()];
            let times = vec!["1970-01-01T00:00:00Z"; values.len()];
            json!({"values": values, "statuses": present, "event_timestamps": times})
        };
        let keys = question.indices.iter().map(|&index| json!(served().key(Service::Stats, index)));
        let mut columns = vec![column(keys.collect())];
        let mut names = vec![JOIN_KEY.to_owned()];
        for (at, name) in Service::Stats.features().into_iter().enumerate() {
            columns.push(column(rows.iter().map(|row| json(&row[at])).collect()));
            names.push(name);
        }
        json!({"results": columns, "metadata": {"feature_names": names}})
    }

    fn question() -> Question {
        Question::draw(&served(), Service::Stats, 3, 2).remove(1)
    }

    fn is_good(answer: &Value) -> bool {
        let bytes = answer.to_string();
        question().check(&served(), Service::Stats, bytes.as_bytes()).is_ok()
    }

    #[test]
    fn anything_wrong_in_an_answer_is_noticed() {
        let good = answer(&question());
        assert!(is_good(&good));
        let changed = |pointer: &str, to: Value| {
            let mut changed = good.clone();
            *changed.pointer_mut(pointer).expect("it is there") = to;
            changed
        };
        for (pointer, to) in [
            ("/results/0/values/0", json!(1)),
            ("/results/2/values/1", json!(0.5)),
            ("/results/6/values/2", Value::Null),
            ("/results/6/statuses/2", json!("NOT_FOUND")),
            ("/results/3/values", json!([])),
            ("/results/3/event_timestamps", json!(["1970-01-01T00:00:00Z"])),
            ("/metadata/feature_names/1", json!("conv_rates")),
            ("/results", json!([])),
        ] {
            assert!(!is_good(&changed(pointer, to)), "{pointer}");
        }
        assert!(!is_good(&Value::Null));
    }

    #[test]
    fn requests_differ_and_say_their_length() {
        let questions = Question::draw(&served(), Service::Bundle, 5, 2);
        assert_ne!(questions[0].bytes, questions[1].bytes);
        let text = String::from_utf8_lossy(questions[0].bytes());
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["entities"][JOIN_KEY].as_array().map(Vec::len), Some(5));
    }
}
