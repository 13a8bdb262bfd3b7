//! The paths by which a definition points into its objects: `.spec.size`,
//! `.status.conditions[?(@.type=="Ready")].status`, `.metadata.annotations.example\.com/x`, `.spec.list[0]`.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Member(String),
    Item(usize),
    All,
    /// Items whose member (by path) is, or is not, this.
    Where(Vec<String>, bool, Value),
}

/// A path that was understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Path(Vec<Step>);

impl Path {
    /// None: it is not understood.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text.trim().strip_prefix('$').unwrap_or(text.trim());
        while !rest.is_empty() {
            rest = match rest.strip_prefix('[') {
                Some(inner) => {
                    let end = closing(inner)?;
                    steps.push(bracket(inner[..end].trim())?);
                    &inner[end + 1..]
                }
                None => {
                    let inner = rest.strip_prefix('.')?;
                    let (name, after) = member(inner);
                    match name.as_str() {
                        "" if after.is_empty() && steps.is_empty() => {}
                        "" if !after.starts_with('[') => return None,
                        "" => {}
                        "*" => steps.push(Step::All),
                        _ => steps.push(Step::Member(name)),
                    }
                    after
                }
            };
        }
        Some(Self(steps))
    }

    /// What it points at; a path with a filter may point at several values.
    pub(crate) fn find<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        self.0.iter().fold(vec![object], |found, step| found.into_iter().flat_map(|value| step.apply(value)).collect())
    }

    /// The names that lead there, when nothing but names does.
    pub(crate) fn names(&self) -> Option<Vec<&str>> {
        let name = |step: &'_ Step| match step {
            Step::Member(_) => true,
            _ => false,
        };
        self.0.iter().all(name).then(|| {
            self.0
                .iter()
                .filter_map(|step| if let Step::Member(name) = step { Some(name.as_str()) } else { None })
                .collect()
        })
    }
}

/// A name up to the next `.` or `[`, and what follows. A backslash takes the meaning from what stands behind it.
fn member(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return (name, &text[at..]),
            c => name.push(c),
        }
    }
    (name, "")
}

/// Where the bracket that is open closes.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_u32, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn unquoted(text: &str) -> Option<&str> {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('\'').or_else(|| inner('"'))
}

fn bracket(text: &str) -> Option<Step> {
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(condition) = text.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        let (operator, equal) = if condition.contains("!=") { ("!=", false) } else { ("==", true) };
        let (left, right) = condition.split_once(operator)?;
        let names = Path::parse(left.trim().strip_prefix('@')?)?;
        let names = names.names()?.into_iter().map(str::to_owned).collect();
        let right = right.trim();
        let wanted = match unquoted(right) {
            Some(text) => Value::String(text.to_owned()),
            None => serde_json::from_str(right).ok()?,
        };
        return Some(Step::Where(names, equal, wanted));
    }
    match unquoted(text) {
        Some(name) => Some(Step::Member(name.to_owned())),
        None => text.parse().ok().map(Step::Item),
    }
}

impl Step {
    fn apply<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Step::Member(name) => value.get(name).into_iter().collect(),
            Step::Item(index) => value.get(index).into_iter().collect(),
            Step::All => match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(map) => map.values().collect(),
                _ => Vec::new(),
            },
            Step::Where(names, equal, wanted) => {
                let at = |item: &'a Value| names.iter().try_fold(item, |value, name| value.get(name));
                let items = value.as_array().into_iter().flatten();
                items.filter(|item| (at(item) == Some(wanted)) == *equal).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_find_what_they_point_at() {
        let object = json!({"metadata": {"annotations": {"a.b/c": "x"}}, "spec": {"list": [1, 2]},
            "status": {"conditions": [{"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]}});
        for (path, found) in [
            (".spec.list[1]", json!([2])),
            (".spec.list[*]", json!([1, 2])),
            (".status.conditions[?(@.type==\"Ready\")].status", json!(["True"])),
            (".status.conditions[?(@.type=='Ready')].status", json!(["True"])),
            (".status.conditions[?(@.type!='Ready')].status", json!(["False"])),
            (".metadata.annotations.a\\.b/c", json!(["x"])),
            (".metadata.annotations['a.b/c']", json!(["x"])),
            (".spec.none", json!([])),
        ] {
            assert_eq!(json!(Path::parse(path).unwrap().find(&object)), found, "{path}");
        }
        for wrong in ["spec", ".spec[", ".spec[x]", ".spec..x"] {
            assert_eq!(Path::parse(wrong), None, "{wrong}");
        }
    }
}
