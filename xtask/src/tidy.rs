//! What rustfmt and clippy do not check (STYLE.md, sections 2, 4 and 6): size, names, words.
//!
//! Line by line, without parsing Rust: rustfmt has already put every brace where it belongs.

use crate::source::{File, Tree};

/// A file above this many lines asks for a split.
const FILE_LINES_USUAL: usize = 500;
/// A file above this many lines fails.
const FILE_LINES_MAX: usize = 800;
/// A function above this many lines fails.
const FUNCTION_LINES_MAX: usize = 70;
/// A line above this many characters fails.
const LINE_CHARS_MAX: usize = 100;

/// Files whose lines are counted; prose wraps as it likes.
const CODE: [&str; 5] = [".rs", ".lua", ".sql", ".py", ".sh"];
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] =
    ["common", "core", "helper", "helpers", "manager", "misc", "util", "utils"];
/// Directories of one machine. In pieces, because this file is checked as well.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
/// The mark of work left over, which must name an issue.
const LEFT_OVER: &str = concat!("TO", "DO");
/// Marks that are not used at all.
const BANNED_WORDS: [&str; 3] = [concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
/// Skips a test without anybody noticing.
const IGNORED_TEST: &str = concat!("#[ign", "ore");

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// What must be put right.
    pub(crate) violations: Vec<String>,
    /// What somebody should look at.
    pub(crate) warnings: Vec<String>,
}

/// Looks at every file.
pub(crate) fn check(tree: &Tree) -> Found {
    let mut found = Found::default();
    for file in &tree.files {
        words(file, &mut found);
        if CODE.iter().any(|extension| file.path.ends_with(extension)) {
            long_lines(file, &mut found);
        }
        if file.is_rust() {
            opening(file, &mut found);
            names(file, &mut found);
            size(file, &mut found);
            functions(file, &mut found);
        }
    }
    found
}

fn opening(file: &File, found: &mut Found) {
    if !file.text.starts_with("//! ") {
        found
            .violations
            .push(format!("{}: the file must open with `//! `: what it holds", file.path));
    }
}

fn size(file: &File, found: &mut Found) {
    let lines = file.code().count();
    let text = format!("{}: {lines} lines without tests", file.path);
    if lines > FILE_LINES_MAX {
        found.violations.push(format!("{text}, {FILE_LINES_MAX} is the most"));
    } else if lines > FILE_LINES_USUAL {
        found.warnings.push(format!("{text}, {FILE_LINES_USUAL} asks for a split"));
    }
}

fn names(file: &File, found: &mut Found) {
    if let Some(name) = file.names().find(|name| EMPTY_NAMES.contains(name)) {
        found.violations.push(format!("{}: the name `{name}` says nothing", file.path));
    }
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim_start();
        let module = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ");
        let name = module.and_then(|rest| rest.split([' ', ';', '{']).next());
        if let Some(name) = name.filter(|name| EMPTY_NAMES.contains(name)) {
            report(found, file, index, &format!("the name `{name}` says nothing"));
        }
        if line.starts_with("fn test_") || line.starts_with("async fn test_") {
            report(found, file, index, "a test is named after its claim, without `test_`");
        }
        if line.starts_with(IGNORED_TEST) {
            report(found, file, index, "no test is skipped");
        }
    }
}

fn words(file: &File, found: &mut Found) {
    for (index, line) in file.text.lines().enumerate() {
        if let Some(path) = MACHINE_PATHS.iter().find(|path| names_path(line, path)) {
            report(found, file, index, &format!("`{path}` is a path of one machine"));
        }
        if let Some(word) = BANNED_WORDS.iter().find(|word| has_word(line, word)) {
            report(found, file, index, &format!("`{word}` is not used; open an issue"));
        }
        if is_left_over(line) && !file.path.ends_with("STYLE.md") {
            report(
                found,
                file,
                index,
                &format!("`{LEFT_OVER}` needs its issue: `{LEFT_OVER}(#7)`"),
            );
        }
    }
}

fn long_lines(file: &File, found: &mut Found) {
    for (index, line) in file.text.lines().enumerate() {
        let length = line.chars().count();
        // A link cannot be broken.
        if length > LINE_CHARS_MAX && !line.contains("https://") {
            report(found, file, index, &format!("{length} columns, {LINE_CHARS_MAX} is the most"));
        }
    }
}

/// A function ends at the first closing brace that stands as far to the right as it does.
fn functions(file: &File, found: &mut Found) {
    let lines: Vec<&str> = file.text.lines().collect();
    for (start, line) in lines.iter().enumerate().filter(|(_, line)| opens_function(line)) {
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", &line[..indent]);
        let signature = lines[start..].iter().position(|l| l.ends_with('{') || l.ends_with(';'));
        let body = signature.filter(|at| lines[start + at].ends_with('{'));
        let Some(end) = body.and_then(|_| lines[start..].iter().position(|l| *l == closing)) else {
            continue;
        };
        let length = end + 1;
        if length > FUNCTION_LINES_MAX {
            let text = format!("the function has {length} lines, {FUNCTION_LINES_MAX} is the most");
            report(found, file, start, &text);
        }
    }
}

fn opens_function(line: &str) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| {
        matches!(*word, "pub" | "const" | "async" | "unsafe" | "default")
            || word.starts_with("pub(")
            || *word == "super)"
    });
    words.next() == Some("fn")
}

/// Tells whether a line names a path, rather than having it inside a longer one.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '}' | '.' | '_' | '-' | '>'))
    })
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        [before, after].into_iter().flatten().all(|c| !c.is_alphanumeric() && c != '_')
    })
}

fn is_left_over(line: &str) -> bool {
    has_word(line, LEFT_OVER)
        && !line.split(LEFT_OVER).skip(1).all(|rest| {
            let number = rest.strip_prefix("(#").and_then(|rest| rest.split_once(')'));
            number.is_some_and(|(digits, _)| digits.parse::<u32>().is_ok())
        })
}

fn report(found: &mut Found, file: &File, index: usize, what: &str) {
    found.violations.push(format!("{}:{}: {what}", file.path, index + 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Found {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        check(&Tree { files: vec![file] })
    }

    fn violations(path: &str, text: &str) -> Vec<String> {
        found(path, text).violations
    }

    #[test]
    fn a_tidy_file_passes() {
        let text = "//! A file.\n\nfn a() {\n    b();\n}\n";
        assert_eq!(found("jobs/src/plan.rs", text), Found::default());
    }

    #[test]
    fn a_file_without_its_purpose_is_a_violation() {
        assert_eq!(violations("a.rs", "use b;\n").len(), 1);
        assert_eq!(violations("a.rs", "").len(), 1);
    }

    #[test]
    fn a_long_file_warns_then_fails() {
        let lines = |count: usize| format!("//! A file.\n{}", "use a;\n".repeat(count - 1));
        assert_eq!(found("a.rs", &lines(500)), Found::default());
        assert_eq!(found("a.rs", &lines(501)).warnings.len(), 1);
        assert!(violations("a.rs", &lines(800)).is_empty());
        assert_eq!(violations("a.rs", &lines(801)).len(), 1);
        let tests =
            format!("//! A file.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "use a;\n".repeat(900));
        assert_eq!(found("a.rs", &tests), Found::default());
    }

    #[test]
    fn a_long_function_is_a_violation() {
        let body = |count: usize| "        a();\n".repeat(count);
        for head in
            ["fn f() {", "pub(crate) async fn f(", "const fn f() {", "pub(in super) fn f() {"]
        {
            let head =
                if head.ends_with('(') { "async fn f(\n        a: u8,\n    ) {" } else { head };
            let text = |count| format!("//! A file.\n    {head}\n{}    }}\n", body(count));
            assert!(violations("a.rs", &text(60)).is_empty(), "{head}");
            assert_eq!(violations("a.rs", &text(69)).len(), 1, "{head}");
        }
        let declared = format!("//! A.\ntrait A {{\n    fn f(&self);\n{}}}\n", body(90));
        assert!(violations("a.rs", &declared).is_empty());
    }

    #[test]
    fn a_long_line_is_a_violation_unless_it_is_a_link() {
        let line = |count: usize| format!("//! {}\n", "é".repeat(count - 4));
        assert!(violations("a.rs", &line(100)).is_empty());
        assert_eq!(violations("a.rs", &line(101)).len(), 1);
        assert_eq!(violations("a.lua", &line(101)).len(), 1);
        assert!(violations("a.md", &line(101)).is_empty());
        assert!(violations("a.rs", &format!("//! https://{}\n", "a".repeat(100))).is_empty());
    }

    #[test]
    fn work_left_over_needs_an_issue() {
        let left = |rest: &str| format!("//! {LEFT_OVER}{rest}\n");
        assert!(violations("a.rs", &left("(#12): later")).is_empty());
        for rest in [": later", "(me): later", "(#): later", ""] {
            assert_eq!(violations("a.rs", &left(rest)).len(), 1, "{rest}");
        }
        assert_eq!(violations("a.md", &left("")).len(), 1);
        for word in BANNED_WORDS {
            assert_eq!(violations("a.sql", &format!("-- {word} later\n")).len(), 1, "{word}");
        }
        assert!(violations("a.rs", &format!("//! {}S\n", BANNED_WORDS[2])).is_empty());
    }

    #[test]
    fn names_that_say_nothing_are_violations() {
        let text = "//! A file.\n";
        for path in ["jobs/src/util.rs", "common/src/lib.rs", "jobs/src/helpers/a.rs"] {
            assert_eq!(violations(path, text).len(), 1, "{path}");
        }
        assert_eq!(violations("a.rs", "//! A.\npub mod manager;\nmod core {\n}\n").len(), 2);
        assert!(violations("a.rs", "//! A.\nmod corer;\n").is_empty());
    }

    #[test]
    fn tests_are_named_after_their_claim_and_never_skipped() {
        let text = format!("//! A.\n    fn test_a() {{}}\n    {IGNORED_TEST}]\n    fn b() {{}}\n");
        assert_eq!(violations("a.rs", &text).len(), 2);
    }

    #[test]
    fn a_path_of_one_machine_is_a_violation() {
        for path in MACHINE_PATHS {
            assert_eq!(violations("a.md", &format!("see `{path}x`\n")).len(), 1, "{path}");
            assert!(violations("a.md", &format!("see a{path}x\n")).is_empty(), "{path}");
        }
    }
}
