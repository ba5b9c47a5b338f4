//! `get-online-features`: reads entities back from the online store, in the order asked for.
//!
//! The feature server answers, in this process or at `--server`; here its columns become rows.

use anyhow::Context as _;
use feature_server::{FeatureRequest, Limits, Values, Wanted};
use serde_json::{Map, Value, json};

use super::{Context, Place, UsageError};
use crate::args::Read;
use crate::{EXIT_LANDED, features, output};

/// What stands beside a value that is what it looks like.
const PRESENT: &str = "PRESENT";

/// Reads and prints one object per entity.
pub async fn run(context: &Context, read: &Read) -> anyhow::Result<u8> {
    let entities = entities(&read.entities)?;
    let answer = match &context.place {
        Place::Server(client) => {
            let answered = client.get_online_features(&body(read, &entities)).await;
            answered.map_err(|error| of_server(client.url(), error))?
        }
        Place::Repo(repo) => {
            // Whoever asks at a prompt waits, and may ask for a whole table.
            let limits = Limits {
                read_timeout: std::time::Duration::from_secs(30),
                entities_max: usize::MAX,
                values_max: usize::MAX,
                ..Limits::default()
            };
            let (server, _) = features::server(repo, &context.environment, limits).await?;
            server.catalog().refresh().await?;
            let answered = server.get(&request(read, &entities)).await;
            let answer = answered.map_err(in_flags)?;
            serde_json::from_slice(&answer.to_json()?).context("the answer is no JSON")?
        }
    };
    let rows = rows(&answer).context("the answer is not that of a feature server")?;
    let values: Vec<Value> = rows.iter().map(|row| Value::Object(row.values.clone())).collect();
    output::value(context.args.output, &values, || text(&rows))?;
    Ok(EXIT_LANDED)
}

/// What is wrong with a request, in the words of the command line.
fn in_flags(error: feature_server::Error) -> anyhow::Error {
    use feature_server::Error;
    let what = match &error {
        Error::MissingJoinKey { key, view } => format!("view `{view}` needs --entity {key}=…"),
        Error::Entity { key, row, source } => {
            format!("--entity {key}=…, value {} of the list: {source}", row + 1)
        }
        _ => return error.into(),
    };
    UsageError(what).into()
}

/// A scheduler has a URL as well, and no features.
fn of_server(url: &str, error: api::client::Error) -> anyhow::Error {
    if error.code() == Some(api::Code::NotFound) {
        let what = format!("`{url}` is no feature server; name one that runs `tidegate serve`");
        return UsageError(what).into();
    }
    error.into()
}

/// A row of the answer, with what is to be said of its values.
struct Row {
    values: Map<String, Value>,
    statuses: Vec<String>,
}

fn text(rows: &[Row]) -> String {
    let block = |row: &Row| {
        let width = row.values.keys().map(|key| key.chars().count()).max().unwrap_or(0);
        let line = |((key, value), status): ((&String, &Value), &String)| {
            let note = if status == PRESENT { String::new() } else { format!("  {status}") };
            format!("{key:width$}  {value}{note}")
        };
        row.values.iter().zip(&row.statuses).map(line).collect::<Vec<_>>().join("\n")
    };
    rows.iter().map(block).collect::<Vec<_>>().join("\n\n")
}

fn request(read: &Read, entities: &[(String, Vec<String>)]) -> FeatureRequest {
    let values = |texts: &[String]| {
        Values::Json(texts.iter().map(|text| Value::from(text.as_str())).collect())
    };
    FeatureRequest {
        wanted: match &read.feature_service {
            Some(name) => Wanted::Service(name.clone()),
            None => Wanted::Features(read.features.clone()),
        },
        entities: entities.iter().map(|(key, texts)| (key.clone(), values(texts))).collect(),
        full_feature_names: read.full_feature_names,
        view_versions: false,
    }
}

/// The same as a body for a server.
fn body(read: &Read, entities: &[(String, Vec<String>)]) -> Value {
    let entities: Map<String, Value> =
        entities.iter().map(|(key, texts)| (key.clone(), json!(texts))).collect();
    let mut body = json!({"entities": entities, "full_feature_names": read.full_feature_names});
    match &read.feature_service {
        Some(name) => body["feature_service"] = json!(name),
        None => body["features"] = json!(read.features),
    }
    body
}

/// `k=v` pairs to columns: a value with commas gives one row per part.
fn entities(pairs: &[String]) -> Result<Vec<(String, Vec<String>)>, UsageError> {
    let column = |pair: &String| {
        let (key, values) = pair
            .split_once('=')
            .ok_or_else(|| UsageError(format!("`{pair}` is no entity; write `key=value`")))?;
        Ok((key.to_owned(), values.split(',').map(str::to_owned).collect()))
    };
    pairs.iter().map(column).collect()
}

/// The columns of an answer as rows.
fn rows(answer: &Value) -> Option<Vec<Row>> {
    let names: Vec<&str> =
        answer["metadata"]["feature_names"].as_array()?.iter().filter_map(Value::as_str).collect();
    let columns = answer["results"].as_array()?;
    let count = columns.first()?["values"].as_array()?.len();
    let row = |at: usize| {
        let mut row = Row { values: Map::new(), statuses: Vec::with_capacity(names.len()) };
        for (name, column) in names.iter().zip(columns) {
            row.values.insert((*name).to_owned(), column["values"].get(at)?.clone());
            row.statuses.push(column["statuses"].get(at)?.as_str()?.to_owned());
        }
        Some(row)
    };
    (0..count).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_rows_with_what_is_odd_about_their_values() {
        let answer = json!({
            "results": [
                {"values": [1, 2], "statuses": ["PRESENT", "PRESENT"], "event_timestamps": []},
                {"values": [0.5, null], "statuses": ["PRESENT", "NOT_FOUND"]},
            ],
            "metadata": {"feature_names": ["id", "rate"]},
        });
        let rows = rows(&answer).expect("an answer");
        assert_eq!(text(&rows), "id    1\nrate  0.5\n\nid    2\nrate  null  NOT_FOUND");
        assert!(super::rows(&json!({"results": 1})).is_none());
    }
}
