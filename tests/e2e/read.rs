//! `get-online-features`: values in the order of the service, whatever is missing.

use anyhow::Result;
use feast::ValueType;
use serde_json::{Value, json};
use tests::definition::{Project, View};
use tests::parquet::{doubles, ints, texts, times, write_small};
use tests::repo::Repo;

use crate::sample::{PROJECT, Shop, at};

fn project() -> Project {
    let staff = View::new(
        "staff",
        "data/staff.parquet",
        &[("age", ValueType::Int64), ("name", ValueType::String), ("score", ValueType::Double)],
    );
    let mut city = View::new("city", "data/city.parquet", &[("people", ValueType::Int64)]);
    city.keys = vec![("town".to_owned(), ValueType::String)];
    Project::new(PROJECT, [staff, city])
        .service("model", &[("city", &["people"]), ("staff", &["score", "age"])])
}

fn fill(repo: &Repo) -> Result<()> {
    write_small(
        &repo.path("data/staff.parquet"),
        &[
            ("id", ints([1, 2])),
            ("ts", times([at(1), at(1)])),
            ("age", ints([Some(41), None])),
            ("name", texts(["Ada", "Grace"])),
            ("score", doubles([0.5, 1.0])),
        ],
    )?;
    write_small(
        &repo.path("data/city.parquet"),
        &[("town", texts(["Ulm"])), ("ts", times([at(1)])), ("people", ints([126_000]))],
    )
}

fn check(repo: &Repo) -> Result<()> {
    repo.succeed(&["materialize", "2024-01-01", "2024-01-02"])?;
    let read = |arguments: &[&str]| -> Result<Value> {
        repo.json(&[&["get-online-features"], arguments].concat())
    };
    let model = ["--feature-service", "model", "--entity", "id=1,2", "--entity", "town=Ulm,Rome"];
    let rows = read(&model)?;
    let order: Vec<&String> = rows[0].as_object().expect("an entity").keys().collect();
    assert_eq!(order, ["id", "town", "people", "score", "age"]);
    assert_eq!(
        (&rows[0]["people"], &rows[0]["score"], &rows[0]["age"]),
        (&json!(126_000), &json!(0.5), &json!(41))
    );
    assert_eq!(
        (&rows[1]["people"], &rows[1]["score"], &rows[1]["age"]),
        (&Value::Null, &json!(1.0), &Value::Null)
    );

    let rows = read(&["--features", "staff:name,staff:age", "--entity", "id=2,7"])?;
    assert_eq!(rows[0]["name"], "Grace");
    assert_eq!(rows[1], json!({ "id": 7, "name": null, "age": null }), "nobody has id 7");
    let rows = read(&["--features", "staff:name", "--full-feature-names", "--entity", "id=1"])?;
    assert_eq!(rows[0]["staff__name"], "Ada");
    Ok(())
}

#[test]
fn features_come_in_the_services_order_from_redis() -> Result<()> {
    let shop = Shop::of(&project())?;
    fill(&shop.repo)?;
    check(&shop.repo)
}

#[test]
fn features_come_in_the_services_order_from_sqlite() -> Result<()> {
    let repo = Repo::with_sqlite_store(&project())?;
    fill(&repo)?;
    check(&repo)
}

#[test]
fn a_request_that_makes_no_sense_is_a_usage_error() -> Result<()> {
    let shop = Shop::of(&project())?;
    fill(&shop.repo)?;
    for (arguments, says) in [
        (vec!["--features", "staff:age"], "needs --entity id="),
        (vec!["--features", "staff:nothing", "--entity", "id=1"], "no feature `nothing`"),
        (
            vec!["--features", "nobody:age", "--entity", "id=1"],
            "feature view `nobody` does not exist",
        ),
        (vec!["--features", "age", "--entity", "id=1"], "write `view:feature`"),
        (
            vec!["--feature-service", "other", "--entity", "id=1"],
            "feature service `other` does not exist",
        ),
        (vec!["--features", "staff:age", "--entity", "id=x"], "--entity id=…, value 1"),
        (vec!["--features", "staff:age", "--entity", "id"], "write `key=value`"),
        (vec!["--entity", "id=1"], "--features"),
    ] {
        let ended = shop.repo.run(&[&["get-online-features"], &arguments[..]].concat())?;
        ended.with_code(2)?.says(says)?;
    }
    Ok(())
}
