//! One protobuf blob on disk, replaced atomically.
//!
//! Feast truncates the file and writes it again, without a lock. So a reader here waits until the
//! file is whole, and a writer makes sure, last thing before the rename, that the file is still
//! the one it read. Between recorders of ours an operating system lock on `<registry>.lock` keeps
//! order. What is left is the moment between that look and the rename, against Feast alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use feast::registry::file_is_whole;

use crate::Error;
use crate::intervals::{Recorded, Recording};

/// Feast writes in one go; a file that is still not whole after 40 looks, a second, is broken.
const LOOKS_MAX: u32 = 40;
const PAUSE_BETWEEN_LOOKS: Duration = Duration::from_millis(25);
/// Somebody who applies 20 times while we record once is a loop gone wrong.
const ATTEMPTS_MAX: u32 = 20;

/// A registry file.
#[derive(Clone, Debug)]
pub(crate) struct FileRegistry {
    path: PathBuf,
}

impl FileRegistry {
    pub(crate) async fn open(path: &Path) -> Result<Self, Error> {
        if is_file(path).await? {
            return Ok(Self { path: path.to_owned() });
        }
        Err(Error::Missing {
            location: path.display().to_string(),
            hint: "run `feast apply`, or correct `registry` in `feature_store.yaml` \
                   (a relative path starts at the repository)",
        })
    }

    /// Reads the whole file.
    pub(crate) async fn read(&self) -> Result<Vec<u8>, Error> {
        self.blocking(|file| file.read_whole(&file.path)).await
    }

    /// Records an interval.
    pub(crate) async fn record(&self, recording: Recording) -> Result<Recorded, Error> {
        self.blocking(move |file| file.record_blocking(&recording)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let file = self.clone();
        let done = tokio::task::spawn_blocking(move || work(file)).await;
        done.map_err(|source| Error::Thread { location: self.location(), source })?
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn read_error(&self, source: io::Error) -> Error {
        Error::Read { location: self.location(), source }
    }

    fn replace_error(&self, source: io::Error) -> Error {
        Error::Replace { location: self.location(), source }
    }

    /// Reads the file until it is whole.
    fn read_whole(&self, path: &Path) -> Result<Vec<u8>, Error> {
        for _ in 0..LOOKS_MAX {
            let bytes = fs::read(path).map_err(|source| self.read_error(source))?;
            if file_is_whole(&bytes) {
                return Ok(bytes);
            }
            thread::sleep(PAUSE_BETWEEN_LOOKS);
        }
        Err(Error::Torn { location: self.location() })
    }

    fn record_blocking(&self, recording: &Recording) -> Result<Recorded, Error> {
        // Renaming onto a symbolic link would replace the link and not what it points to.
        let path = fs::canonicalize(&self.path).map_err(|source| self.read_error(source))?;
        let _lock = lock(&path).map_err(|source| self.replace_error(source))?;
        for _ in 0..ATTEMPTS_MAX {
            let prepared = self.prepare(&path, recording)?;
            if let Some(recorded) = self.finish(&path, prepared)? {
                return Ok(recorded);
            }
        }
        Err(Error::Contended { location: self.location(), attempts: ATTEMPTS_MAX })
    }

    /// Reads the file and writes, beside it, what it shall become.
    fn prepare(&self, path: &Path, recording: &Recording) -> Result<Prepared, Error> {
        let before = self.read_whole(path)?;
        let after = match recording.apply(&before, &self.location())? {
            Ok(bytes) => Ok(stage(path, &bytes).map_err(|source| self.replace_error(source))?),
            Err(recorded) => Err(recorded),
        };
        Ok(Prepared { before, after })
    }

    /// Puts it in place; `None` when the file is not the one that was read any more.
    fn finish(&self, path: &Path, prepared: Prepared) -> Result<Option<Recorded>, Error> {
        if self.read_whole(path)? != prepared.before {
            return Ok(None);
        }
        let staged = match prepared.after {
            Ok(staged) => staged,
            Err(recorded) => return Ok(Some(recorded)),
        };
        staged.persist(path).map_err(|error| self.replace_error(error.error))?;
        sync_directory(path).map_err(|source| self.replace_error(source))?;
        Ok(Some(Recorded::Added))
    }
}

/// A registry file as it was read, and what is to become of it.
struct Prepared {
    before: Vec<u8>,
    /// The file to put in its place, or why there is none.
    after: Result<tempfile::NamedTempFile, Recorded>,
}

/// Tells whether there is a file. What hides it, such as a missing permission, is an error.
pub(crate) async fn is_file(path: &Path) -> Result<bool, Error> {
    match tokio::fs::metadata(path).await {
        Ok(metadata) => Ok(metadata.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Read { location: path.display().to_string(), source }),
    }
}

/// Waits for the lock that recorders hold; it ends with the returned handle, also by a kill.
fn lock(registry: &Path) -> io::Result<File> {
    let mut path = registry.as_os_str().to_owned();
    path.push(".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    file.lock()?;
    Ok(file)
}

/// Writes the new bytes beside the registry, durable and with its owner and permissions.
fn stage(registry: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut staged = tempfile::Builder::new()
        .prefix(".registry-")
        .suffix(".tmp")
        .tempfile_in(directory(registry))?;
    staged.write_all(bytes)?;
    let metadata = fs::metadata(registry)?;
    keep_owner(staged.as_file(), &metadata)?;
    staged.as_file().set_permissions(metadata.permissions())?;
    staged.as_file().sync_all()?;
    Ok(staged)
}

/// Gives the file the owner that the registry has, where it is another than ours.
#[cfg(unix)]
fn keep_owner(file: &File, registry: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let ours = file.metadata()?;
    if (ours.uid(), ours.gid()) == (registry.uid(), registry.gid()) {
        return Ok(());
    }
    fchown(file, Some(registry.uid()), Some(registry.gid()))
}

#[cfg(not(unix))]
fn keep_owner(_file: &File, _registry: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

/// Makes the rename durable.
fn sync_directory(registry: &Path) -> io::Result<()> {
    File::open(directory(registry))?.sync_all()
}

/// The directory of a canonical path, which always has one.
fn directory(registry: &Path) -> &Path {
    registry.parent().unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use feast::ViewKind;
    use feast::registry::{IntervalRecord, Snapshot};

    use super::*;

    const REGISTRY: &[u8] = include_bytes!("../../feast/testdata/registry/entityless_before.db");

    /// Made without `open`, which is async, as these tests are not.
    fn registry() -> (tempfile::TempDir, FileRegistry) {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("registry.db");
        fs::write(&path, REGISTRY).expect("there is room");
        (directory, FileRegistry { path })
    }

    fn recording(end_micros: i64) -> Recording {
        Recording {
            project: "proj".to_owned(),
            view: "fv".to_owned(),
            kind: ViewKind::Feature,
            interval: IntervalRecord { start_micros: 0, end_micros, now_micros: 9 },
        }
    }

    /// Intervals that do not adjoin one another.
    fn apart(number: i64) -> Recording {
        let (start_micros, end_micros) = (number * 10, number * 10 + 5);
        let interval = IntervalRecord { start_micros, end_micros, now_micros: 9 };
        Recording { interval, ..recording(5) }
    }

    fn snapshot(file: &FileRegistry) -> Snapshot {
        let bytes = file.read_whole(&file.path).expect("it is there");
        Snapshot::from_file(&bytes, "proj").expect("it is a registry")
    }

    fn intervals(file: &FileRegistry) -> Vec<(i64, i64)> {
        let snapshot = snapshot(file);
        let view = snapshot.view("fv").expect("nobody removes it");
        view.materialization_intervals.clone()
    }

    /// What a definition of one more view adds to a registry file.
    fn one_more_view(name: &str) -> Vec<u8> {
        let length = |bytes: &[u8]| u8::try_from(bytes.len()).expect("it is short");
        let name_field = [&[0x0a, length(name.as_bytes())], name.as_bytes()].concat();
        let spec = [&name_field[..], &[0x12, 4], b"proj"].concat();
        let view = [&[0x0a, length(&spec)], &spec[..]].concat();
        [&[0x32, length(&view)], &view[..]].concat()
    }

    /// Rewrites the file in place with one more view, as `feast apply` does.
    fn apply(path: &Path, name: &str) {
        let mut bytes = fs::read(path).expect("it is there");
        bytes.extend(one_more_view(name));
        let mut file = File::create(path).expect("it can be written");
        thread::yield_now();
        file.write_all(&bytes).expect("there is room");
    }

    #[test]
    fn an_interval_is_recorded_once() {
        let (directory, file) = registry();
        let first = file.record_blocking(&recording(5)).expect("it can be recorded");
        let bytes = fs::read(&file.path).expect("it is there");
        let second = file.record_blocking(&recording(5)).expect("it can be repeated");
        assert_eq!((first, second), (Recorded::Added, Recorded::AlreadyThere));
        assert_eq!(fs::read(&file.path).expect("it is there"), bytes);
        assert_eq!(intervals(&file), [(0, 5)]);
        let left = fs::read_dir(directory.path()).expect("it is there").count();
        assert_eq!(left, 2, "the registry and its lock are left, and no other file");
    }

    #[test]
    fn a_view_that_is_gone_changes_nothing() {
        let (_directory, file) = registry();
        let gone = Recording { view: "other".to_owned(), ..recording(5) };
        assert_eq!(file.record_blocking(&gone).expect("it can be read"), Recorded::ViewGone);
        assert_eq!(fs::read(&file.path).expect("it is there"), REGISTRY);
    }

    #[test]
    fn an_apply_between_reading_and_replacing_is_not_undone() {
        let (_directory, file) = registry();
        let prepared = file.prepare(&file.path, &recording(5)).expect("it can be prepared");
        apply(&file.path, "added");
        assert_eq!(file.finish(&file.path, prepared).expect("it can be read"), None);
        assert_eq!(file.record_blocking(&recording(5)).expect("again"), Recorded::Added);
        assert_eq!(intervals(&file), [(0, 5)]);
        assert!(snapshot(&file).view("added").is_some());
    }

    #[test]
    fn recorders_and_an_apply_lose_nothing() {
        const EACH: i64 = 20;
        let (_directory, file) = registry();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let record = |first: i64| {
                let file = &file;
                move || {
                    for number in first..first + EACH {
                        let recorded = file.record_blocking(&apart(number));
                        assert_eq!(recorded.expect("it can be recorded"), Recorded::Added);
                    }
                }
            };
            let writers = [scope.spawn(record(0)), scope.spawn(record(EACH))];
            let applier = scope.spawn(|| {
                for number in 0..EACH {
                    // The lock stands for an `apply` that is not itself late: what Feast read
                    // before an interval landed, it would write back without it.
                    let _lock = lock(&file.path).expect("it can be locked");
                    apply(&file.path, &format!("added{number}"));
                }
            });
            let reader = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert!(snapshot(&file).view("fv").is_some(), "a cut file was believed");
                }
            });
            for thread in writers.into_iter().chain([applier]) {
                thread.join().expect("it ends well");
            }
            stop.store(true, Ordering::Relaxed);
            reader.join().expect("it ends well");
        });
        let mut starts: Vec<i64> = intervals(&file).into_iter().map(|(start, _)| start).collect();
        starts.sort_unstable();
        assert_eq!(starts, (0..2 * EACH).map(|number| number * 10).collect::<Vec<_>>());
        assert_eq!(snapshot(&file).views.len(), 1 + usize::try_from(EACH).expect("it is small"));
    }

    #[test]
    fn a_file_that_stays_cut_is_an_error() {
        let (_directory, file) = registry();
        fs::write(&file.path, &REGISTRY[..REGISTRY.len() / 2]).expect("there is room");
        let error = file.record_blocking(&recording(5)).expect_err("it is cut");
        assert!(matches!(error, Error::Torn { .. }) && error.is_retryable(), "{error}");
    }

    #[tokio::test]
    async fn a_missing_file_is_told_and_not_made() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("registry.db");
        let error = FileRegistry::open(&path).await.expect_err("it is not there");
        assert!(matches!(error, Error::Missing { .. }), "{error}");
        assert!(!path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn permissions_and_links_are_kept() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let (directory, file) = registry();
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o640)).expect("it is ours");
        let link = directory.path().join("link.db");
        symlink(&file.path, &link).expect("it can be linked");
        let linked = FileRegistry { path: link.clone() };
        linked.record_blocking(&recording(5)).expect("it can be recorded");
        assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink());
        let mode = fs::metadata(&file.path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(intervals(&file), [(0, 5)]);
    }
}
