//! The key `registry`: a path, or a mapping for all other forms.

use std::path::Path;

use serde_norway::Value;

use super::section::Section;
use super::{Error, RegistryConfig, RegistryLocation, Surroundings, postgres_url, redact};

/// Pool and logging settings of SQLAlchemy, which say nothing about what is stored.
const SQLALCHEMY_HARMLESS: [&str; 9] = [
    "echo",
    "echo_pool",
    "future",
    "max_overflow",
    "pool_pre_ping",
    "pool_recycle",
    "pool_size",
    "pool_timeout",
    "pool_use_lifo",
];
/// Parameters of Python's SQLite driver that say nothing about which database is meant.
const SQLITE_HARMLESS: [&str; 3] = ["cached_statements", "check_same_thread", "timeout"];

pub(super) fn read(
    file: &Section<'_>,
    surroundings: Surroundings<'_>,
) -> Result<RegistryConfig, Error> {
    match file.value("registry") {
        None => Err(Error::Missing {
            key: "registry".to_owned(),
            hint: ": a path, or a mapping with `registry_type` and `path`",
        }),
        Some(Value::String(path)) => Ok(RegistryConfig {
            location: file_location(path, surroundings.repo_dir)?,
            versioning: false,
            purge_feast_metadata: false,
            cache_ttl_seconds: None,
        }),
        Some(Value::Mapping(mapping)) => {
            mapping_form(&Section::new("registry", mapping), surroundings)
        }
        Some(other) => Err(file.wrong_type("registry", "a path or a mapping", other)),
    }
}

/// The mapping; keys that Feast does not know either are ignored, as there.
fn mapping_form(
    section: &Section<'_>,
    surroundings: Surroundings<'_>,
) -> Result<RegistryConfig, Error> {
    let kind = section.text("registry_type")?.unwrap_or("file");
    let path = section.text("path")?;
    let path = || {
        path.filter(|path| !path.is_empty()).ok_or_else(|| Error::Missing {
            key: "registry.path".to_owned(),
            hint: ": the registry's file or URL",
        })
    };
    let location = match kind {
        "file" => file_form(section, path()?, surroundings.repo_dir)?,
        "sql" => {
            // Feast reads from `read_path`; a lagging replica would only show old definitions,
            // so `path` is used for both.
            section.text("read_path")?;
            refuse_engine_options(section)?;
            sql_location(path()?, surroundings.working_dir)?
        }
        other => {
            return Err(section.unsupported("registry_type", other, "use `file` or `sql`"));
        }
    };
    Ok(RegistryConfig {
        location,
        versioning: section.flag("enable_online_feature_view_versioning", false)?,
        purge_feast_metadata: section.flag("purge_feast_metadata", false)?,
        cache_ttl_seconds: cache_ttl(section)?,
    })
}

fn cache_ttl(section: &Section<'_>) -> Result<Option<u64>, Error> {
    let seconds = section.integer("cache_ttl_seconds")?;
    let positive = |seconds: i64| {
        u64::try_from(seconds).map_err(|_| {
            section.invalid(
                "cache_ttl_seconds",
                &seconds.to_string(),
                "write 0 or seconds above it",
            )
        })
    };
    seconds.map(positive).transpose()
}

fn file_form(
    section: &Section<'_>,
    path: &str,
    repo_dir: &Path,
) -> Result<RegistryLocation, Error> {
    let location = file_location(path, repo_dir)?;
    let scheme = path.split_once("://").map(|(scheme, _)| scheme);
    match (section.text("registry_store_type")?, scheme) {
        (None, _)
        | (Some("LocalRegistryStore"), None)
        | (Some("S3RegistryStore"), Some("s3"))
        | (Some("GCSRegistryStore"), Some("gs")) => {}
        (Some(other), _) => {
            let hint = "leave it out, so that the path's scheme decides";
            return Err(section.unsupported("registry_store_type", other, hint));
        }
    }
    match section.section("s3_additional_kwargs", "registry.s3_additional_kwargs")? {
        Some(options) if options.keys().next().is_some() => Err(Error::UnsupportedKey {
            key: "registry.s3_additional_kwargs".to_owned(),
            hint: "the object would be written without these; make them defaults of the bucket"
                .to_owned(),
        }),
        _ => Ok(location),
    }
}

/// The place of a file registry.
///
/// # Source
/// Feast 0.67 `registry.py`: the path's URL scheme decides; without one it is a file, relative to
/// the repository.
fn file_location(path: &str, repo_dir: &Path) -> Result<RegistryLocation, Error> {
    let refuse = |why: &str| Err(Error::RegistryUrl { url: redact(path), why: why.to_owned() });
    match path.split_once("://") {
        None => Ok(RegistryLocation::File(repo_dir.join(path))),
        Some(("s3" | "gs", place)) => match place.split_once('/') {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
                Ok(RegistryLocation::Object(path.to_owned()))
            }
            _ => refuse("write bucket and key, as in `s3://bucket/registry.db`"),
        },
        Some(("file", _)) => refuse("`file://` does not work in Feast either; write the bare path"),
        Some((scheme, _)) if scheme.starts_with("postgres") || scheme.starts_with("sqlite") => {
            refuse("a database needs the mapping form with `registry_type: sql`")
        }
        Some((scheme, _)) => {
            refuse(&format!("the scheme `{scheme}` is not supported; use a path, `s3` or `gs`"))
        }
    }
}

/// The place of a SQL registry, from SQLAlchemy's URL.
fn sql_location(url: &str, working_dir: &Path) -> Result<RegistryLocation, Error> {
    let refuse = |why: String| Error::RegistryUrl { url: redact(url), why };
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(refuse("it must be a URL, as `postgresql://user@host/database`".to_owned()));
    };
    match scheme {
        "postgresql" | "postgresql+psycopg" | "postgresql+psycopg2" => {
            postgres_url::normalize(rest).map(RegistryLocation::Postgres).map_err(refuse)
        }
        "sqlite" | "sqlite+pysqlite" => sqlite_path(rest, working_dir).map_err(refuse),
        "postgres" => Err(refuse("SQLAlchemy wants `postgresql://`".to_owned())),
        other => Err(refuse(format!(
            "the database `{other}` is not supported; use `postgresql` or `sqlite`"
        ))),
    }
}

/// `sqlite:///relative`, `sqlite:////absolute`; relative to the working directory, as in Feast.
fn sqlite_path(rest: &str, working_dir: &Path) -> Result<RegistryLocation, String> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let keys = query.split('&').filter(|pair| !pair.is_empty());
    for key in keys.map(|pair| pair.split('=').next().unwrap_or(pair)) {
        if !SQLITE_HARMLESS.contains(&key) {
            return Err(format!("the parameter `{key}` is not supported; leave it out"));
        }
    }
    match place.strip_prefix('/') {
        None if place.is_empty() => Err("a database in memory holds no registry".to_owned()),
        None => Err("write three slashes before a relative path, four before `/`".to_owned()),
        Some("" | ":memory:") => Err("a database in memory holds no registry".to_owned()),
        Some(path) => Ok(RegistryLocation::Sqlite(working_dir.join(path))),
    }
}

fn refuse_engine_options(section: &Section<'_>) -> Result<(), Error> {
    let name = "registry.sqlalchemy_config_kwargs";
    let Some(options) = section.section("sqlalchemy_config_kwargs", name)? else {
        return Ok(());
    };
    match options.keys().find(|key| !SQLALCHEMY_HARMLESS.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(Error::UnsupportedKey {
            key: options.path(&key),
            hint: "it may change which tables are meant; put connection settings into the URL"
                .to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RegistryConfig, Error> {
        let value: Value = serde_norway::from_str(text).expect("the test's YAML is well formed");
        let surroundings =
            Surroundings { repo_dir: Path::new("/repo"), working_dir: Path::new("/cwd") };
        read(&Section::new("", value.as_mapping().expect("it is a mapping")), surroundings)
    }

    #[test]
    fn every_form_is_resolved() {
        use RegistryLocation::{File, Object, Postgres, Sqlite};
        let postgres = || Postgres("postgresql://u@h/d".to_owned());
        for (text, location) in [
            ("registry: data/r.db", File("/repo/data/r.db".into())),
            ("registry: /abs/r.db", File("/abs/r.db".into())),
            ("registry: {path: r.db, cache_ttl_seconds: 5, other: 1}", File("/repo/r.db".into())),
            ("registry: {registry_type: file, path: r.db}", File("/repo/r.db".into())),
            ("registry: s3://b/k/r.db", Object("s3://b/k/r.db".to_owned())),
            (
                "registry: {path: 'gs://b/r.db', registry_store_type: GCSRegistryStore}",
                Object("gs://b/r.db".to_owned()),
            ),
            ("registry: {registry_type: sql, path: 'postgresql://u@h/d'}", postgres()),
            ("registry: {registry_type: sql, path: 'postgresql+psycopg://u@h/d'}", postgres()),
            ("registry: {registry_type: sql, path: 'postgresql+psycopg2://u@h/d'}", postgres()),
            (
                "registry: {registry_type: sql, path: 'sqlite:///r.db', read_path: 'x'}",
                Sqlite("/cwd/r.db".into()),
            ),
            (
                "registry: {registry_type: sql, path: 'sqlite:////abs/r.db?timeout=5'}",
                Sqlite("/abs/r.db".into()),
            ),
        ] {
            assert_eq!(parse(text).expect(text).location, location);
        }
    }

    #[test]
    fn switches_are_read() {
        let config = parse(
            "registry: {registry_type: sql, path: 'sqlite:///r.db', purge_feast_metadata: true, \
             enable_online_feature_view_versioning: yes, \
             sqlalchemy_config_kwargs: {pool_pre_ping: true}}",
        );
        let config = config.expect("Feast accepts it");
        assert!(config.versioning && config.purge_feast_metadata);
    }

    #[test]
    fn other_forms_are_refused_by_name() {
        for (text, names) in [
            ("registry: null", "no `registry`"),
            ("registry: {registry_type: sql}", "no `registry.path`"),
            ("registry: {registry_type: snowflake.registry, path: x}", "snowflake.registry"),
            ("registry: {registry_type: remote, path: 'h:1'}", "registry_type: remote"),
            ("registry: hdfs://h/r.db", "`hdfs`"),
            ("registry: file:///r.db", "`file://`"),
            ("registry: postgresql://u:secret@h/d", "registry_type: sql"),
            ("registry: s3://bucket", "bucket and key"),
            ("registry: {path: r.db, registry_store_type: my.Store}", "my.Store"),
            (
                "registry: {path: 's3://b/r', s3_additional_kwargs: {ACL: x}}",
                "s3_additional_kwargs",
            ),
            (
                "registry: {registry_type: sql, path: 'mysql+pymysql://u:secret@h/d'}",
                "mysql+pymysql",
            ),
            ("registry: {registry_type: sql, path: 'sqlite://'}", "in memory"),
            ("registry: {registry_type: sql, path: 'sqlite:///r.db?uri=true'}", "`uri`"),
            ("registry: {registry_type: sql, path: 'postgresql://h/d?service=x'}", "`service`"),
            (
                "registry: {registry_type: sql, path: 'sqlite:///r', \
                 sqlalchemy_config_kwargs: {connect_args: {}}}",
                "registry.sqlalchemy_config_kwargs.connect_args",
            ),
        ] {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.contains(names), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
