//! The OpenAPI document of the HTTP door, made from the annotations of the handlers.
//!
//! A copy is kept in `feature-server/openapi.json`, so that a change of the contract is seen in
//! review.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};

use super::{admin, body, features, write};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate feature server",
        description = "Answers requests for online features of a project, as `feast serve` does.",
    ),
    paths(
        features::post,
        features::get,
        write::push,
        write::write_to_online_store,
        admin::live,
        admin::ready,
        admin::health,
        show,
    ),
    components(schemas(
        api::Problem, api::Code, body::GetOnlineFeatures, body::Push, body::WriteToOnlineStore,
        body::DataFrame,
    )),
    tags(
        (name = "features", description = "Reading features."),
        (name = "rows", description = "Writing rows."),
        (name = "health", description = "The process itself."),
    ),
)]
struct Routes;

/// The name of the one way to be known.
const TOKEN: &str = "token";

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Routes::openapi();
    // utoipa knows of a licence only what `Cargo.toml` says, and of a contact nothing.
    document.info.contact = None;
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert(TOKEN.to_owned(), scheme.into());
    document.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, [])]);
    document
}

/// Describes this server in OpenAPI 3.1.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "health",
    responses((status = 200, description = "This document.", body = serde_json::Value)),
)]
pub(super) async fn show() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Set to write the golden copy anew, as `cargo xtask gen` does.
    const GENERATE: &str = "TIDEGATE_GENERATE";

    #[test]
    fn the_golden_copy_is_what_is_served() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        let served = document().to_pretty_json().expect("it is JSON") + "\n";
        if std::env::var_os(GENERATE).is_some() {
            std::fs::write(&path, &served).expect("the copy can be written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == served, "`feature-server/openapi.json` is old; run `cargo xtask gen`");
    }
}
