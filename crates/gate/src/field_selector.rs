//! Field selectors, only as far as authorisation needs them: does one pin `metadata.name`?
//! Grammar and escapes follow `fields.ParseSelector` of k8s.io/apimachinery.

/// The value of `metadata.name` that the selector requires, where it requires exactly one.
pub(crate) fn exact_name(selector: &str) -> Option<String> {
    let mut found = None;
    for term in split_terms(selector).into_iter().filter(|t| !t.is_empty()) {
        let (field, equals, value) = split_term(term)?;
        let value = unescape(value)?;
        if equals && field == "metadata.name" && found.is_none() {
            found = Some(value);
        }
    }
    found.filter(|name| !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '%']))
}

fn split_terms(selector: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in selector.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&selector[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&selector[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    for (at, _) in term.char_indices() {
        let rest = &term[at..];
        for (operator, equals) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((&term[..at], equals, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                c @ ('\\' | ',' | '=') => out.push(c),
                _ => return None,
            },
            ',' | '=' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_pinned_only_by_equality() {
        let cases = [
            ("metadata.name=web", Some("web")),
            ("metadata.name==web", Some("web")),
            ("status.phase=Running,metadata.name=web", Some("web")),
            ("metadata.name!=web", None),
            ("metadata.namespace=web", None),
            ("metadata.name=", None),
            ("metadata.name=a/b", None),
            ("metadata.name=..", None),
            ("metadata.name=a\\,b", Some("a,b")),
            ("metadata.name=a=b", None),
            ("nonsense", None),
            ("", None),
        ];
        for (selector, expected) in cases {
            assert_eq!(exact_name(selector).as_deref(), expected, "{selector}");
        }
    }
}
