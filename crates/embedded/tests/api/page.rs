//! The page of the docs that says what of Kubernetes' protocol and behaviour the embedded cluster is held against
//! (`HARNESS_BLESS=1` writes it anew): recordings that are played again, what differs, and the tests of everything for which
//! there is no recording.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::conformance::{claimed, deviations, recordings};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names in a folder, in order.
fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Every recording of an exchange, as `area/case`, and how many exchanges it has.
fn exchanges() -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for area in names(&recordings()) {
        for file in names(&recordings().join(&area)) {
            let text = fs::read_to_string(recordings().join(&area).join(&file)).unwrap();
            let count = serde_json::from_str::<Value>(&text).unwrap()["exchanges"].as_array().unwrap().len();
            all.insert(format!("{area}/{}", file.trim_end_matches(".json")), count);
        }
    }
    all
}

/// Recordings that are not played again, and why: `area/case reason`, or `area/* reason`.
fn unplayed() -> Vec<(&'static str, &'static str)> {
    let lines = include_str!("unplayed.txt").lines().filter(|line| !line.starts_with("//") && !line.is_empty());
    lines.map(|line| line.split_once(' ').expect("area/case reason")).collect()
}

/// Why a recording is not played again.
fn why_unplayed(file: &str) -> Option<&'static str> {
    let area = file.split('/').next().unwrap();
    let lines = unplayed();
    let own = lines.iter().find(|(name, _)| *name == file);
    own.or_else(|| lines.iter().find(|(name, _)| name.strip_suffix("/*") == Some(area))).map(|(_, why)| *why)
}

const HEAD: &str = "\
# What the embedded cluster is held against

The embedded cluster follows a real Kubernetes 1.36.2, which was recorded. This page is made from the recordings in
`tests/recordings` and the lists that the tests go by; a test demands that it is current. A recording that is listed as played
again is played in every run of the tests, and a difference that is not named here fails them.

## Protocol

Each exchange is one request and its answer: status, body, warnings. Left out of the comparison are times, uids, resource
versions and generated names. Each recorded answer, changed (another kind, reason or message, a member or an item less), must
fail the comparison.

| area | exchanges | as recorded | otherwise | not played again |
|---|---|---|---|---|
";

fn protocol(page: &mut String) {
    let all = exchanges();
    let played: BTreeSet<&str> = claimed().map(|(file, _)| file).collect();
    for file in &played {
        assert!(all.contains_key(*file), "claimed.txt names {file}, which is no recording");
    }
    let mut rows: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for (file, count) in &all {
        let row = rows.entry(file.split('/').next().unwrap()).or_default();
        let otherwise = deviations().filter(|(key, _)| key.split('#').next() == Some(file)).count();
        row[0] += count;
        if played.contains(file.as_str()) {
            row[1] += count - otherwise;
            row[2] += otherwise;
        } else {
            assert!(why_unplayed(file).is_some(), "{file} is neither in claimed.txt nor in unplayed.txt");
            row[3] += count;
        }
    }
    let mut sum = [0; 4];
    for (area, row) in &rows {
        let _ = writeln!(page, "| {area} | {} | {} | {} | {} |", row[0], row[1], row[2], row[3]);
        sum.iter_mut().zip(row).for_each(|(sum, count)| *sum += count);
    }
    let _ = writeln!(page, "| **all** | {} | {} | {} | {} |", sum[0], sum[1], sum[2], sum[3]);
    page.push_str("\n### Answered otherwise\n\nThe number behind `#` counts the exchanges of a recording from 0.\n\n| exchange | why |\n|---|---|\n");
    for (key, why) in deviations() {
        let _ = writeln!(page, "| `{key}` | {why} |");
    }
    page.push_str("\n### Not played again\n\n| recording | why |\n|---|---|\n");
    for (name, why) in unplayed() {
        let meant = all.keys().any(|file| name == file || name.strip_suffix("/*") == file.split('/').next());
        assert!(meant, "unplayed.txt names {name}, which is no recording");
        assert!(!played.contains(name), "{name} is in claimed.txt and in unplayed.txt");
        let _ = writeln!(page, "| `{name}` | {why} |");
    }
}

/// Areas without recordings, or with more to them than was recorded: what is there, and the tests that show it.
fn tested(page: &mut String) {
    page.push_str("\n## Shown by tests alone\n\nWords and rules are Kubernetes' own, read from its sources.\n\n| area | what | tests |\n|---|---|---|\n");
    for line in include_str!("tested.txt").lines().filter(|line| !line.starts_with("//") && !line.is_empty()) {
        let parts: Vec<&str> = line.split(" | ").collect();
        let [area, what, tests] = parts[..] else { panic!("area | what | tests: {line}") };
        let mut cells = Vec::new();
        for test in tests.split(' ') {
            let (file, name) = test.split_once("::").expect("file::test");
            let text = fs::read_to_string(root().join("crates/embedded").join(file)).unwrap();
            assert!(text.contains(&format!("fn {name}(")), "there is no test {name} in {file}");
            cells.push(format!("`{name}`"));
        }
        let _ = writeln!(page, "| {area} | {what} | {} |", cells.join(", "));
    }
}

/// The recorded scenarios. Whether they replay is tested in `tests/scenarios`.
fn scenarios(page: &mut String) {
    page.push_str("\n## Behaviour over time\n\nEach scenario is a set of writes and what followed: statuses, reasons, restarts, conditions, Events, with their times. Each\nrecording, changed in three ways (states swapped, another reason, an event missing), must fail the comparison.\n\n| scenario | result | left out of the comparison |\n|---|---|---|\n");
    let played = include_str!("../scenarios/main.rs");
    let ignored: Vec<Vec<&str>> = include_str!("../scenarios/ignored.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(" | ").collect())
        .collect();
    let all = names(&root().join("tests/recordings/scenarios"));
    let mut count = 0;
    for name in &all {
        let replays = played.contains(&format!("    \"{name}\",\n"));
        count += usize::from(replays);
        let own: Vec<String> =
            ignored.iter().filter(|line| line[0] == name).map(|line| format!("\"{}\": {}", line[1], line[2])).collect();
        let result = if replays { "replays" } else { "not played again" };
        let _ = writeln!(page, "| `{name}` | {result} | {} |", own.join("; "));
    }
    let _ = writeln!(page, "\n{count} of {} replay. Left out everywhere:\n", all.len());
    for line in ignored.iter().filter(|line| line[0] == "*") {
        let _ = writeln!(page, "- \"{}\": {}", line[1], line[2]);
    }
}

#[test]
fn the_page_of_conformance_is_current() {
    let mut page = String::from(HEAD);
    protocol(&mut page);
    tested(&mut page);
    scenarios(&mut page);
    let path = root().join("docs/src/guide/conformance.md");
    if std::env::var_os("HARNESS_BLESS").is_some() {
        fs::write(&path, &page).expect("written");
    }
    let checked_in = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(page, checked_in, "{} is out of date; HARNESS_BLESS=1 writes it anew", path.display());
}
