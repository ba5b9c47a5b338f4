//! Who may read and who may write, where the server knows its callers.

use ::tests::repo::{configuration, redis_store};
use anyhow::Result;
use reqwest::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use serde_json::{Value, json};
use tokio::runtime;

use crate::site::{Mode, Site};
use crate::svc;

/// A reader and a writer, and the SHA-256 of the texts `reader` and `writer`.
const TOKENS: &str = "\
reader read 3d0941964aa3ebdcb00ccef58b1bb399f9f898465e9886d5aec7f31090a0fb30\n\
writer run b93006774cbdd4b299389a03ac3d88c3a76b460d538795bc12718011a909fba5\n";

#[test]
fn a_reader_reads_a_writer_writes_and_nobody_else_does_either() -> Result<()> {
    let site = Site::recorded(Mode::Strict)?;
    site.repo.write("tokens", TOKENS)?;
    let mut all = configuration(&svc::project().name, redis_store(site.redis.port()));
    all["tidegate"] = json!({ "auth": { "tokens": "tokens" } });
    site.repo.configure(&all)?;
    let server = site.serve()?;
    let url = format!("http://127.0.0.1:{}", server.http());
    let read = json!({ "features": ["driver_stats:conv_rate"], "entities": { "driver_id": [1] } });
    let write = json!({ "push_source_name": "driver_push", "df": {} });
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let client = reqwest::Client::new();
    let ask = |path: &str, body: &Value, token: Option<&str>| -> Result<(u16, bool)> {
        let mut asked = client.post(format!("{url}{path}")).json(body);
        if let Some(token) = token {
            asked = asked.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = runtime.block_on(asked.send())?;
        Ok((answer.status().as_u16(), answer.headers().contains_key(WWW_AUTHENTICATE)))
    };
    for (path, body, token, status) in [
        ("/get-online-features", &read, None, 401),
        ("/get-online-features", &read, Some("stranger"), 401),
        ("/get-online-features", &read, Some("reader"), 200),
        ("/get-online-features", &read, Some("writer"), 200),
        ("/push", &write, None, 401),
        ("/push", &write, Some("reader"), 403),
        ("/push", &write, Some("writer"), 200),
    ] {
        let answered = ask(path, body, token)?;
        assert_eq!(answered, (status, status == 401), "{path} {token:?}");
    }
    Ok(())
}
