//! The text files of the repository, read once for all checks.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the checks look at. Data (JSON, Parquet, databases) is not theirs.
const EXTENSIONS: [&str; 9] = ["rs", "toml", "md", "sh", "sql", "lua", "py", "yaml", "yml"];

/// The line that starts a file's own tests.
const TESTS: &str = "#[cfg(test)]";

/// One text file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Path below the root, with `/`.
    pub(crate) path: String,
    /// Contents.
    pub(crate) text: String,
}

impl File {
    /// Tells whether it is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The file's own directory and name, without the extension.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let stem = self.path.rsplit_once('.').map_or(self.path.as_str(), |(stem, _)| stem);
        stem.split('/')
    }

    /// The lines before the file's own tests, which close it; none of a file of unit tests.
    pub(crate) fn code(&self) -> impl Iterator<Item = &str> {
        let is_tests = self.path.contains("/src/") && self.path.ends_with("/tests.rs");
        let inline = self.text.lines().zip(self.text.lines().skip(1)).position(|(line, next)| {
            line == TESTS && next.starts_with("mod ") && next.ends_with('{')
        });
        self.text.lines().take(if is_tests { 0 } else { inline.unwrap_or(usize::MAX) })
    }
}

/// Every text file of the repository, in order of paths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    /// The files.
    pub(crate) files: Vec<File>,
}

impl Tree {
    /// Reads every text file below a directory that belongs to the repository.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        collect(root, root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    /// The file at a path, if there is one.
    #[cfg(test)]
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn collect(root: &Path, dir: &Path, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            if !is_foreign(&path) && !is_golden(&below(root, &path)) {
                collect(root, &path, files)?;
            }
        } else if is_text(&path) {
            files.push(File { path: below(root, &path), text: fs::read_to_string(&path)? });
        }
    }
    Ok(())
}

/// Build output, Python environments and git's own files are not the repository's.
fn is_foreign(dir: &Path) -> bool {
    dir.file_name().is_some_and(|name| name == ".git" || name == "target")
        || dir.join("CACHEDIR.TAG").exists()
        || dir.join("pyvenv.cfg").exists()
}

/// What others wrote, kept as it came.
fn is_golden(dir: &str) -> bool {
    dir.starts_with("tests/vectors/") || dir.ends_with("/testdata")
}

fn is_text(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) || path.ends_with(".ci/run")
}

fn below(root: &Path, path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(root).unwrap_or(path).to_path_buf();
    path.to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::root;

    #[test]
    fn golden_data_is_left_alone_but_the_suite_that_reads_it_is_not() {
        assert!(is_golden("tests/vectors/types_list") && is_golden("feast/testdata"));
        assert!(!is_golden("tests/vectors") && !is_golden("feast"));
    }

    #[test]
    fn the_repository_is_read() {
        let tree = Tree::read(&root()).expect("the repository is there");
        let this = tree.file("xtask/src/source.rs").expect("this file is in it");
        assert!(this.is_rust());
        assert_eq!(this.names().collect::<Vec<_>>(), ["xtask", "src", "source"]);
        assert!(tree.file("Cargo.toml").is_some());
        assert!(tree.files.iter().all(|file| !file.path.starts_with("target/")));
    }

    #[test]
    fn code_ends_where_the_tests_start() {
        let text = "//! x\nfn a() {}\n#[cfg(test)]\nmod tests {\n}\n".to_owned();
        let file = File { path: "a.rs".to_owned(), text };
        assert_eq!(file.code().collect::<Vec<_>>(), ["//! x", "fn a() {}"]);
        let text = "//! x\n#[cfg(test)]\nmod tests;\nfn a() {}\n".to_owned();
        let file = File { path: "a/src/b.rs".to_owned(), text };
        assert_eq!(file.code().count(), 4);
        assert_eq!(File { path: "a/src/b/tests.rs".to_owned(), ..file }.code().count(), 0);
        let text = "#[cfg(test)]\nuse a::b;\nfn a() {}\n".to_owned();
        assert_eq!(File { path: "a.rs".to_owned(), text }.code().count(), 3);
    }
}
