//! From the path in the registry to the files behind it.
//!
//! Follows what Feast's file source does: directories are read recursively, globs work, files
//! whose names start with a dot are skipped, `key=value` directories are partitions.

use std::path::{Component, Path, PathBuf};

use chrono::NaiveDate;
use futures::TryStreamExt;
use model::EventTime;
use object_store::path::Path as StorePath;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use url::Url;

use super::{Days, ListedFile, Location};
use crate::error::Error;

/// File name endings that Feast's file source reads in a directory.
const EXTENSIONS: [&str; 3] = [".parquet", ".parq", ".pq"];

/// Resolves a source path: a URL as it is, anything else against the repository.
///
/// # Errors
/// [`Error::Path`] for a URL that cannot be read.
///
/// # Source
/// Feast 0.67 `FileSource.get_uri_for_file_path`.
pub fn resolve(path: &str, repo_dir: &Path, endpoint: Option<&str>) -> Result<Location, Error> {
    let refuse = |why: &str| Error::Path { path: path.to_owned(), why: why.to_owned() };
    if path.is_empty() {
        return Err(refuse("the data source has no path"));
    }
    if let Some((scheme, rest)) = path.split_once("://") {
        if scheme == "file" {
            return Err(refuse("Feast does not read `file://` URLs; write a plain path"));
        }
        // The path stays text: a URL parser would read a glob's `?` as a query.
        let scheme = if scheme == "s3a" { "s3" } else { scheme };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let store = Url::parse(&format!("{scheme}://{bucket}"))
            .map_err(|error| refuse(&format!("it is no URL ({error})")))?;
        return Ok(Location {
            store,
            path: key.to_owned(),
            endpoint: endpoint.map(str::to_owned),
            shown: path.to_owned(),
        });
    }
    let absolute = normalize(&repo_dir.join(path));
    let shown = absolute.to_string_lossy().into_owned();
    let store = Url::parse("file:///").expect("a constant URL");
    Ok(Location { store, path: shown.trim_start_matches('/').to_owned(), endpoint: None, shown })
}

/// Removes `.` and `..` without asking the file system, since the path may be a glob.
fn normalize(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut sum, component| {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                sum.pop();
            }
            other => sum.push(other),
        }
        sum
    })
}

/// Lists the files of a location in order of path.
pub(super) async fn list(
    store: &dyn ObjectStore,
    location: &Location,
) -> Result<Vec<ListedFile>, Error> {
    let mut found = if location.path.contains(['*', '?', '[']) {
        list_glob(store, location).await?
    } else {
        list_plain(store, location).await?
    };
    if found.is_empty() {
        return Err(Error::NoFiles { path: location.shown.clone() });
    }
    found.sort_by(|(left, _), (right, _)| left.location.cmp(&right.location));
    let named = |(meta, hive): (ObjectMeta, _)| {
        let shown = shown(&location.store, &meta.location);
        ListedFile { meta, hive, shown }
    };
    Ok(found.into_iter().map(named).collect())
}

fn shown(store: &Url, path: &StorePath) -> String {
    if store.scheme() == "file" { format!("/{path}") } else { format!("{store}/{path}") }
}

async fn list_plain(
    store: &dyn ObjectStore,
    location: &Location,
) -> Result<Vec<(ObjectMeta, Vec<(String, String)>)>, Error> {
    let root = store_path(&location.path)?;
    let is_directory = location.path.is_empty() || location.path.ends_with('/');
    if !is_directory {
        match store.head(&root).await {
            Ok(meta) => return Ok(vec![(meta, Vec::new())]),
            Err(object_store::Error::NotFound { .. }) => {}
            // A local directory answers `head` with an I/O error of its own.
            Err(_) if location.is_local_directory() => {}
            Err(source) => return Err(Error::List { path: location.shown.clone(), source }),
        }
    }
    Ok(list_below(store, &root, location)
        .await?
        .into_iter()
        .filter_map(|meta| {
            let below = segments_below(&meta.location, &root)?;
            is_data_file(&below).then(|| (meta, hive(&below)))
        })
        .collect())
}

/// Everything below a path; nothing where there is no such path.
async fn list_below(
    store: &dyn ObjectStore,
    root: &StorePath,
    location: &Location,
) -> Result<Vec<ObjectMeta>, Error> {
    match store.list(Some(root)).try_collect().await {
        Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
        listed => listed.map_err(|source| Error::List { path: location.shown.clone(), source }),
    }
}

async fn list_glob(
    store: &dyn ObjectStore,
    location: &Location,
) -> Result<Vec<(ObjectMeta, Vec<(String, String)>)>, Error> {
    let pattern = glob::Pattern::new(&location.path).map_err(|error| Error::Path {
        path: location.shown.clone(),
        why: format!("it is no glob ({error})"),
    })?;
    let options =
        glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
    let is_literal = |segment: &&str| !segment.contains(['*', '?', '[']);
    let literal: Vec<&str> = location.path.split('/').take_while(is_literal).collect();
    let root = store_path(&literal.join("/"))?;
    Ok(list_below(store, &root, location)
        .await?
        .into_iter()
        .filter_map(|meta| {
            let text = meta.location.as_ref();
            let below = segments_below(&meta.location, &root)?;
            let is_file = pattern.matches_with(text, options);
            // A glob may name directories: then what lies below them belongs to the source.
            let is_below =
                text.match_indices('/').any(|(at, _)| pattern.matches_with(&text[..at], options));
            let wanted = is_file || (is_below && is_data_file(&below));
            wanted.then(|| (meta, hive(&below)))
        })
        .collect())
}

/// A store path from plain text, as it is: escaping it would name another file.
fn store_path(text: &str) -> Result<StorePath, Error> {
    StorePath::parse(text).map_err(|error| Error::Path {
        path: text.to_owned(),
        why: format!("no object store can have such a path ({error})"),
    })
}

/// Undoes the escaping of a hive directory's value.
fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn segments_below(path: &StorePath, root: &StorePath) -> Option<Vec<String>> {
    let below = path.prefix_match(root)?;
    Some(below.map(|part| part.as_ref().to_owned()).collect())
}

fn is_data_file(below: &[String]) -> bool {
    let hidden = below.iter().any(|segment| segment.starts_with('.'));
    let name = below.last().map_or("", String::as_str);
    !hidden && EXTENSIONS.iter().any(|extension| name.ends_with(extension))
}

fn hive(below: &[String]) -> Vec<(String, String)> {
    let directories = below.split_last().map_or(&[][..], |(_, directories)| directories);
    directories
        .iter()
        .filter_map(|segment| segment.split_once('='))
        .map(|(key, value)| (key.to_owned(), percent_decode(value)))
        .collect()
}

/// Tells whether a file's date directory says that it holds nothing of the interval.
///
/// A day of slack on either side lets a directory be named by local date. A value that is no
/// date says nothing.
pub(super) fn is_outside(file: &ListedFile, Days { key, interval }: Days<'_>) -> bool {
    let value = file.hive.iter().find(|(name, _)| name == key).map(|(_, value)| value);
    let Some(day) = value.and_then(|value| parse_day(value)) else { return false };
    let first = day.checked_sub_days(chrono::Days::new(1)).and_then(midnight);
    let after = day.checked_add_days(chrono::Days::new(2)).and_then(midnight);
    first.is_some_and(|first| first >= interval.end)
        || after.is_some_and(|after| after <= interval.start)
}

fn parse_day(text: &str) -> Option<NaiveDate> {
    ["%Y-%m-%d", "%Y%m%d"].iter().find_map(|format| NaiveDate::parse_from_str(text, format).ok())
}

fn midnight(day: NaiveDate) -> Option<EventTime> {
    EventTime::from_utc(day.and_hms_opt(0, 0, 0)?.and_utc())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn touch(dir: &Path, name: &str) {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"x").unwrap();
    }

    async fn names(dir: &Path, path: &str) -> Vec<String> {
        let location = resolve(path, dir, None).unwrap();
        let store = object_store::local::LocalFileSystem::new();
        let listed = list(&store, &location).await.unwrap();
        let prefix = format!("{}/", dir.to_string_lossy().trim_start_matches('/'));
        let strip = |text: String| text.strip_prefix(&prefix).map(str::to_owned).unwrap_or(text);
        listed.iter().map(|file| strip(file.meta.location.to_string())).collect()
    }

    #[tokio::test]
    async fn a_directory_is_read_as_feast_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "d/a.parquet",
            "d/b.parq",
            "d/c.pq",
            "d/_SUCCESS",
            "d/.e.parquet",
            "d/n.txt",
            "d/_tmp/f.parquet",
        ] {
            touch(dir.path(), name);
        }
        let expected = ["d/_tmp/f.parquet", "d/a.parquet", "d/b.parq", "d/c.pq"];
        assert_eq!(names(dir.path(), "d").await, expected);
        assert_eq!(names(dir.path(), "./d/").await, expected);
    }

    #[tokio::test]
    async fn globs_match_files_and_directories() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["d/2024-01/a.parquet", "d/2024-02/b.parquet", "d/2025-01/c.parquet", "e.bin"] {
            touch(dir.path(), name);
        }
        let both = ["d/2024-01/a.parquet", "d/2024-02/b.parquet"];
        assert_eq!(names(dir.path(), "d/2024-*/*.parquet").await, both);
        assert_eq!(names(dir.path(), "d/2024-*").await, both);
        assert_eq!(names(dir.path(), "*.bin").await, ["e.bin"]);
    }

    #[tokio::test]
    async fn names_with_blanks_and_percent_signs_are_found() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), "d x/a 100%.parquet");
        assert_eq!(names(dir.path(), "d x").await, ["d x/a 100%.parquet"]);
        assert_eq!(names(dir.path(), "d x/a 100%.parquet").await, ["d x/a 100%.parquet"]);
    }

    #[test]
    fn a_bucket_path_keeps_its_glob() {
        let location = resolve("s3://b/x/*.p?", Path::new("/r"), Some("http://e")).unwrap();
        assert_eq!((location.store.as_str(), location.path.as_str()), ("s3://b", "x/*.p?"));
    }

    #[test]
    fn hive_directories_are_partitions() {
        let below = ["k=1", "x", "day=2024-01-02", "f.parquet"].map(str::to_owned);
        let expected =
            [("k", "1"), ("day", "2024-01-02")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(hive(&below), expected);
    }
}
