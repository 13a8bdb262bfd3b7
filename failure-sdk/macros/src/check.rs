//! What is wrong with a `metadata.yaml`, as far as can be told without the harness. All problems at once, each with its line.

use serde_json::Value;

const KEYS: [&str; 20] = [
    "schema",
    "id",
    "version",
    "name",
    "description",
    "expected_duration",
    "severity",
    "prerequisites",
    "tags",
    "params",
    "workload",
    "capabilities",
    "exclusive",
    "induce",
    "symptoms",
    "health",
    "ground_truth",
    "reference_fix",
    "repair_access",
    "wrong_fixes",
];

const REQUIRED: [&str; 3] = ["name", "description", "expected_duration"];

/// The metadata with its id, or `line: what is wrong` for each problem.
pub(crate) fn check(text: &str, folder: &str) -> Result<Value, Vec<String>> {
    // YAML 1.2, as the harness reads it: `no` and `N` are text.
    let options = serde_saphyr::options! { strict_booleans: true };
    let mut value: Value =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| vec![format!(" {error}")])?;
    let Some(map) = value.as_object_mut() else {
        return Err(vec!["1: a mapping was expected, with `name`, `description` and `expected_duration`".to_owned()]);
    };
    let mut problems = Vec::new();
    for key in map.keys().filter(|key| !KEYS.contains(&key.as_str())) {
        let near = nearest(key).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        problems.push(format!("{}: unknown key `{key}`{near}", line_of(text, key)));
    }
    for key in REQUIRED {
        match map.get(key) {
            Some(Value::String(s)) if !s.trim().is_empty() => {}
            Some(_) => problems.push(format!("{}: `{key}` must be text that is not empty", line_of(text, key))),
            None => problems.push(format!("1: the required key `{key}` is missing")),
        }
    }
    match map.get("id") {
        None if is_id(folder) => {
            map.insert("id".to_owned(), Value::String(folder.to_owned()));
        }
        None => problems.push(format!("1: there is no `id`, and the folder's name `{folder}` is none: {ID_GRAMMAR}")),
        Some(Value::String(id)) if !is_id(id) => {
            problems.push(format!("{}: `{id}` is not an id: {ID_GRAMMAR}", line_of(text, "id")));
        }
        Some(Value::String(id)) if id != folder => {
            problems.push(format!("{}: the id `{id}` must equal the folder's name `{folder}`", line_of(text, "id")));
        }
        Some(Value::String(_)) => {}
        Some(_) => problems.push(format!("{}: `id` must be text", line_of(text, "id"))),
    }
    if let Some(Value::String(duration)) = map.get("expected_duration")
        && !is_duration(duration)
    {
        let line = line_of(text, "expected_duration");
        problems.push(format!("{line}: `{duration}` is not a duration; write it like `30s`, `5m` or `1m30s`"));
    }
    if let Some(severity) = map.get("severity")
        && !matches!(severity.as_str(), Some("low" | "medium" | "high" | "critical"))
    {
        problems.push(format!("{}: `severity` is low, medium, high or critical", line_of(text, "severity")));
    }
    if map.contains_key("induce") {
        let line = line_of(text, "induce");
        problems
            .push(format!("{line}: a failure that is written in code has no `induce` steps: remove one of the two"));
    }
    if problems.is_empty() { Ok(value) } else { Err(problems) }
}

const ID_GRAMMAR: &str = "lower-case letters and digits, in parts joined by single hyphens, at most 63 characters";

fn is_id(id: &str) -> bool {
    let part = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    id.len() <= 63 && id.split('-').all(part)
}

/// One or more of number and unit: `ms`, `s`, `m`, `h`.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let unit = &rest[digits..];
        let Some(unit) = ["ms", "s", "m", "h"].into_iter().find(|u| digits > 0 && unit.starts_with(u)) else {
            return false;
        };
        rest = &rest[digits + unit.len()..];
    }
    !text.is_empty()
}

/// The line where a top-level key stands. Top-level keys begin their line, so no spans are needed.
fn line_of(text: &str, key: &str) -> usize {
    let begins = |line: &str| {
        let line = line.trim_start_matches(['"', '\'']);
        line.strip_prefix(key).is_some_and(|rest| rest.trim_start_matches(['"', '\'', ' ']).starts_with(':'))
    };
    text.lines().position(begins).map_or(1, |index| index + 1)
}

/// The known key that takes the fewest edits, when they are few enough for a slip of the fingers.
fn nearest(key: &str) -> Option<&'static str> {
    let best = KEYS.into_iter().map(|known| (distance(key, known), known)).min()?;
    (best.0 <= 1 + key.len() / 4).then_some(best.1)
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name: N\ndescription: D\nexpected_duration: 1m30s\n";

    #[test]
    fn the_folder_gives_the_id() {
        let value = check(GOOD, "my-failure").expect("the three required keys are enough");
        assert_eq!(value["id"], "my-failure");
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_line() {
        let text = "id: Other\nname: N\nsymptom: []\nexpected_duration: soon\nseverity: huge\n";
        let problems = check(text, "demo").expect_err("nothing here is right").join("\n");
        for expected in [
            "3: unknown key `symptom`; did you mean `symptoms`?",
            "1: the required key `description` is missing",
            "1: `Other` is not an id",
            "4: `soon` is not a duration",
            "5: `severity` is",
        ] {
            assert!(problems.contains(expected), "missing {expected:?} in:\n{problems}");
        }
    }

    #[test]
    fn an_id_that_is_not_the_folders_name_is_refused() {
        let problems = check(&format!("id: other\n{GOOD}"), "demo").expect_err("ids must agree");
        assert_eq!(problems, ["1: the id `other` must equal the folder's name `demo`"]);
    }

    #[test]
    fn text_that_is_no_yaml_is_refused() {
        assert!(check("a: [", "demo").is_err());
        assert!(check("- a\n", "demo").is_err());
    }
}
