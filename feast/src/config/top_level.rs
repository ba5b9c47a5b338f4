//! The file's own keys, and the sections that materialization hardly depends on.

use serde_norway::Value;

use super::section::Section;
use super::{Error, RepoConfig, Surroundings, online_store, registry, tidegate};

/// Feast's default since 0.50.
const ENTITY_KEY_VERSION: i64 = 3;

pub(super) fn read(text: &str, surroundings: Surroundings<'_>) -> Result<RepoConfig, Error> {
    let mut document: Value = serde_norway::from_str(text).map_err(Error::Yaml)?;
    document.apply_merge().map_err(Error::Yaml)?;
    let Value::Mapping(mapping) = &document else { return Err(Error::NotAMapping) };
    let file = Section::new("", mapping);
    let project = project(&file)?;
    provider(&file)?;
    let registry = registry::read(&file, surroundings)?;
    let online_store = online_store::read(&file, surroundings.repo_dir)?;
    offline_store(&file)?;
    batch_engine(&file)?;
    let entity_key_serialization_version =
        file.integer("entity_key_serialization_version")?.unwrap_or(ENTITY_KEY_VERSION);
    Ok(RepoConfig {
        project,
        registry,
        online_store,
        entity_key_serialization_version,
        online_write_batch_size: online_write_batch_size(&file)?,
        tidegate: tidegate::read(&file)?,
    })
}

/// The project's name.
///
/// # Source
/// Feast 0.67 `repo_config.py`: word characters and hyphens, the first neither `_` nor `-`; a
/// hyphen is refused for every online store, although the message there names SQLite only.
fn project(file: &Section<'_>) -> Result<String, Error> {
    let name = file.text("project")?.ok_or_else(|| Error::Missing {
        key: "project".to_owned(),
        hint: ", for example `project: my_project`",
    })?;
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let why = if name.is_empty() {
        "it must not be empty"
    } else if name.starts_with(['_', '-']) {
        "it must not start with `_` or `-`"
    } else if name.contains('-') {
        "Feast refuses hyphens; use `_`"
    } else if !name.chars().all(is_word) {
        "it may hold letters, digits and `_` only"
    } else {
        return Ok(name.to_owned());
    };
    Err(file.invalid("project", name, why))
}

fn provider(file: &Section<'_>) -> Result<(), Error> {
    match file.text("provider")? {
        None | Some("local" | "gcp" | "aws" | "azure") => Ok(()),
        Some(other) => {
            let hint = "a provider of your own may write other bytes; \
                        use `local`, `gcp`, `aws` or `azure`";
            Err(file.unsupported("provider", other, hint))
        }
    }
}

/// A key that is a type as text, or a mapping with a `type`.
pub(super) enum Typed<'a> {
    Absent,
    Name(&'a str),
    Section(&'a str, Section<'a>),
}

pub(super) fn typed<'a>(
    file: &Section<'a>,
    key: &'static str,
    default: &'static str,
) -> Result<Typed<'a>, Error> {
    match file.value(key) {
        None => Ok(Typed::Absent),
        Some(Value::String(name)) => Ok(Typed::Name(name)),
        Some(Value::Mapping(mapping)) => {
            let section = Section::new(key, mapping);
            let name = section.text("type")?.unwrap_or(default);
            Ok(Typed::Section(name, section))
        }
        Some(other) => Err(file.wrong_type(key, "a type or a mapping with `type`", other)),
    }
}

/// The offline store decides how Feast reads; we read Parquet by ourselves, so that of the stores
/// over files nothing but the name matters.
fn offline_store(file: &Section<'_>) -> Result<(), Error> {
    let (name, section) = match typed(file, "offline_store", "dask")? {
        Typed::Absent => return Ok(()),
        Typed::Name(name) => (name, None),
        Typed::Section(name, section) => (name, Some(section)),
    };
    let keys: &[&str] = match name {
        "dask" | "file" => &["type"],
        "duckdb" => &["type", "staging_location", "staging_location_endpoint_override"],
        other => {
            let hint = "sources are read from Parquet files; use `dask`, `file` or `duckdb`";
            return Err(file.unsupported("offline_store", other, hint));
        }
    };
    section.map_or(Ok(()), |section| section.only(keys))
}

fn batch_engine(file: &Section<'_>) -> Result<(), Error> {
    let (name, section) = match typed(file, "batch_engine", "local")? {
        Typed::Absent => return Ok(()),
        Typed::Name(name) => (name, None),
        Typed::Section(name, section) => (name, Some(section)),
    };
    if name != "local" {
        let hint = "the work is done here; use `local`, or leave the key out";
        return Err(file.unsupported("batch_engine", name, hint));
    }
    section.map_or(Ok(()), |section| section.only(&["type", "backend"]))
}

/// `materialization`, or its other name `materialization_config`.
///
/// `pull_latest_features` asks the offline store for the newest rows, which is what is written
/// either way.
fn online_write_batch_size(file: &Section<'_>) -> Result<Option<usize>, Error> {
    for key in ["materialization", "materialization_config"] {
        if let Some(section) = file.section(key, key)? {
            section.flag("pull_latest_features", false)?;
            return section.count("online_write_batch_size");
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::RegistryLocation;
    use super::*;

    const BASE: &str = "project: p\nregistry: data/registry.db\n";

    fn parse(text: &str) -> Result<RepoConfig, Error> {
        let env = |name: &str| (name == "PROJECT").then(|| "expanded".to_owned());
        RepoConfig::parse(text, Path::new("/repo"), Path::new("/cwd"), &env)
    }

    fn refused(text: &str) -> String {
        parse(text).map(|config| format!("{config:?}")).expect_err(text).to_string()
    }

    #[test]
    fn the_least_file_has_feasts_defaults() {
        let config = parse(BASE).expect("Feast accepts it");
        assert_eq!(config.project, "p");
        assert_eq!(config.entity_key_serialization_version, 3);
        assert_eq!(config.online_write_batch_size, None);
        assert_eq!(
            config.registry.location,
            RegistryLocation::File("/repo/data/registry.db".into())
        );
        assert_eq!(
            config.online_store,
            super::super::OnlineStoreConfig::Sqlite { path: "/repo/data/online.db".into() }
        );
    }

    #[test]
    fn variables_are_expanded_before_parsing() {
        let config = parse("project: $PROJECT\nregistry: r.db\n").expect("it is set");
        assert_eq!(config.project, "expanded");
    }

    #[test]
    fn unknown_top_level_keys_are_ignored() {
        let text =
            format!("{BASE}feature_server: {{type: local}}\nauth: {{type: no_auth}}\nx: 1\n");
        assert!(parse(&text).is_ok());
    }

    #[test]
    fn project_names_follow_feasts_rule() {
        for name in ["p", "P_1", "0p", "größe", "项目"] {
            let text = format!("project: {name}\nregistry: r\n");
            assert_eq!(parse(&text).expect(name).project, name);
        }
        for (name, why) in [
            ("_p", "start"),
            ("-p", "start"),
            ("a-b", "hyphens"),
            ("a b", "letters"),
            ("a.b", "letters"),
            ("''", "empty"),
            ("12", "must be text"),
        ] {
            let message = refused(&format!("project: {name}\nregistry: r\n"));
            assert!(message.contains("`project") && message.contains(why), "{message}");
        }
    }

    #[test]
    fn missing_keys_are_named() {
        assert!(refused("registry: r\n").contains("no `project`"));
        assert!(refused("project: p\n").contains("no `registry`"));
        assert!(refused("").contains("must be a mapping"));
        assert!(refused("project: [\n").contains("as YAML"));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (lines, names) in [
            ("provider: my.Provider", "provider: my.Provider"),
            ("offline_store: bigquery", "offline_store: bigquery"),
            ("offline_store: {type: snowflake.offline}", "offline_store: snowflake.offline"),
            ("offline_store: {type: file, path: x}", "unknown key `path`"),
            ("batch_engine: spark.engine", "batch_engine: spark.engine"),
            ("batch_engine: {type: lambda}", "batch_engine: lambda"),
            ("batch_engine: {type: local, threads: 2}", "unknown key `threads`"),
            ("entity_key_serialization_version: '3'", "must be an integer, not text"),
            ("entity_key_serialization_version: 2.5", "must be an integer"),
            ("materialization: {online_write_batch_size: 0}", "must be above 0"),
            ("materialization: {pull_latest_features: maybe}", "must be true or false"),
            ("materialization: 5", "must be a mapping"),
        ] {
            let message = refused(&format!("{BASE}{lines}\n"));
            assert!(message.contains(names), "{message}");
        }
    }

    #[test]
    fn harmless_settings_are_accepted() {
        for lines in [
            "provider: gcp",
            "offline_store: file",
            "offline_store: {type: duckdb, staging_location: s3://b/x}",
            "batch_engine: local",
            "batch_engine: {type: local, backend: polars}",
            "materialization: {pull_latest_features: yes}",
            "materialization: {online_write_batch_size: null}",
            "entity_key_serialization_version: 0",
        ] {
            assert!(parse(&format!("{BASE}{lines}\n")).is_ok(), "{lines}");
        }
    }

    #[test]
    fn the_batch_size_is_read_under_both_names() {
        for key in ["materialization", "materialization_config"] {
            let config = parse(&format!("{BASE}{key}: {{online_write_batch_size: 500}}\n"));
            assert_eq!(config.expect(key).online_write_batch_size, Some(500));
        }
    }
}
