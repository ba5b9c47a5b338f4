//! Temporary.
#![allow(clippy::unwrap_used, missing_docs, reason = "temporary")]
use metastore::{Ledger, LedgerUrl};
struct Place { url: LedgerUrl }
impl Place { fn url(&self) -> &LedgerUrl { &self.url } }
async fn fresh() -> Place {
    let port = std::env::var("H2_PG").unwrap();
    let name = format!("t{}", uuid::Uuid::now_v7().simple());
    let out = std::process::Command::new("psql").args(["-h","127.0.0.1","-U","postgres","-p",&port,"-c",&format!("CREATE DATABASE {name}")]).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    Place { url: LedgerUrl::parse(&format!("postgresql+psycopg://postgres:x@127.0.0.1:{port}/{name}")).unwrap() }
}
metastore::conformance_tests!(fresh);

fn psql(db: &str, sql: &str) -> String {
    let port = std::env::var("H2_PG").unwrap();
    let out = std::process::Command::new("psql").args(["-h","127.0.0.1","-U","postgres","-p",&port,"-d",db,"-Atc",sql]).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).unwrap()
}
#[tokio::test]
async fn schema_same() {
    let place = fresh().await;
    let _l = Ledger::open(place.url()).await.unwrap();
    let db = place.url().to_string().rsplit('/').next().unwrap().to_owned();
    psql(&db, &format!("CREATE SCHEMA other; SET search_path=other; {}", include_str!("../schema.sql")));
    let port = std::env::var("H2_PG").unwrap();
    let dump = |schema: &str| { let o = std::process::Command::new("pg_dump").args(["-h","127.0.0.1","-U","postgres","-p",&port,"-n",schema,"-s",&db]).output().unwrap();
        String::from_utf8(o.stdout).unwrap().lines().filter(|l| !l.contains("restrict")).collect::<Vec<_>>().join("\n").replace(schema, "S") };
    let (a,b) = (dump("tidegate"), dump("other"));
    assert!(a.len() > 2000);
    assert_eq!(a, b);
    assert_eq!(psql(&db, "select count(*) from pg_tables where schemaname='public'"), "0\n");
}
#[tokio::test]
async fn least_rights() {
    let place = fresh().await;
    let db = place.url().to_string().rsplit('/').next().unwrap().to_owned();
    psql(&db, &format!("CREATE ROLE r_{db} LOGIN PASSWORD 'p'; CREATE SCHEMA tidegate AUTHORIZATION r_{db}; REVOKE CREATE, TEMP ON DATABASE {db} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC"));
    let port = std::env::var("H2_PG").unwrap();
    let url = LedgerUrl::parse(&format!("postgresql://r_{db}:p@127.0.0.1:{port}/{db}")).unwrap();
    assert!(Ledger::open_read_only(&url).await.unwrap().is_none());
    Ledger::open(&url).await.unwrap();
    assert!(Ledger::open_read_only(&url).await.unwrap().is_some());
}
#[tokio::test]
async fn lost_server() {
    let url = LedgerUrl::parse("postgresql://u:hunter2@127.0.0.1:1/x").unwrap();
    let e = Ledger::open(&url).await.map(drop).unwrap_err();
    assert!(e.is_retryable());
    assert_eq!(e.to_string(), "failed to open the ledger at `postgresql://u:***@127.0.0.1:1/x`");
}
#[tokio::test]
async fn terminated_backend() {
    let place = fresh().await;
    let db = place.url().to_string().rsplit('/').next().unwrap().to_owned();
    let l = Ledger::open(place.url()).await.unwrap();
    psql("postgres", &format!("select pg_terminate_backend(pid) from pg_stat_activity where datname='{db}'"));
    let r = l.runs(None, 1).await;
    println!("{r:?}");
    assert!(r.as_ref().is_ok_and(|x| x.is_empty()) || r.unwrap_err().is_retryable());
}
