//! Label selectors: text as `kubectl -l` takes it, or a Kubernetes `LabelSelector` object, to the one form of requests.

use serde_json::Value;

/// The form that requests carry: `a=b,c!=d,e in (x,y),!f`.
///
/// # Errors
/// What is wrong with the selector, one sentence.
pub(crate) fn to_query(selector: &Value) -> Result<String, String> {
    match selector {
        Value::String(text) => {
            split(text).into_iter().try_for_each(check)?;
            Ok(text.clone())
        }
        Value::Object(map) => {
            let mut parts = Vec::new();
            for (key, value) in map {
                match key.as_str() {
                    "matchLabels" => parts.extend(match_labels(value)?),
                    "matchExpressions" => parts.extend(match_expressions(value)?),
                    other => {
                        return Err(format!(
                            "unknown key `{other}` in a labelSelector; it has matchLabels and matchExpressions"
                        ));
                    }
                }
            }
            if parts.is_empty() {
                Err("this labelSelector selects everything; leave it out".to_owned())
            } else {
                Ok(parts.join(","))
            }
        }
        _ => Err("a labelSelector is text such as `app=checkout`, or has matchLabels".to_owned()),
    }
}

fn match_labels(value: &Value) -> Result<Vec<String>, String> {
    let labels = value.as_object().ok_or("matchLabels is a mapping of label to value")?;
    let one = |(key, value): (&String, &Value)| {
        let text =
            value.as_str().ok_or_else(|| format!("the value of label `{key}` must be text; put it in quotes"))?;
        Ok(format!("{}={}", checked_key(key)?, checked_value(text)?))
    };
    labels.iter().map(one).collect()
}

fn match_expressions(value: &Value) -> Result<Vec<String>, String> {
    let list = value.as_array().ok_or("matchExpressions is a list")?;
    let one = |item: &Value| {
        let key = checked_key(item["key"].as_str().ok_or("each of matchExpressions needs a `key`")?)?;
        let values = || -> Result<String, String> {
            let values = item["values"].as_array().filter(|v| !v.is_empty()).ok_or("`In` and `NotIn` need `values`")?;
            let texts = values.iter().map(|v| checked_value(v.as_str().ok_or("label values must be text")?));
            Ok(texts.collect::<Result<Vec<_>, String>>()?.join(","))
        };
        match item["operator"].as_str() {
            Some("In") => Ok(format!("{key} in ({})", values()?)),
            Some("NotIn") => Ok(format!("{key} notin ({})", values()?)),
            Some("Exists") => Ok(key.to_owned()),
            Some("DoesNotExist") => Ok(format!("!{key}")),
            _ => Err("`operator` is one of In, NotIn, Exists, DoesNotExist".to_owned()),
        }
    };
    list.iter().map(one).collect()
}

/// At the commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0usize;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .map(str::trim)
    .collect()
}

fn check(part: &str) -> Result<(), String> {
    if let Some((before, values)) = part.strip_suffix(')').and_then(|p| p.split_once('(')) {
        let words: Vec<&str> = before.split_whitespace().collect();
        let [key, "in" | "notin"] = words.as_slice() else {
            return Err(format!("`{part}` is neither `key in (…)` nor `key notin (…)`"));
        };
        checked_key(key)?;
        if values.trim().is_empty() {
            return Err(format!("`{part}` names no value"));
        }
        return values.split(',').try_for_each(|value| checked_value(value.trim()).map(drop));
    }
    let (key, value) = match part.split_once("!=").or_else(|| part.split_once("==")).or_else(|| part.split_once('=')) {
        Some((key, value)) => (key, value),
        None => (part.strip_prefix('!').unwrap_or(part), ""),
    };
    checked_key(key.trim())?;
    checked_value(value.trim()).map(drop)
}

/// A name of at most 63 characters, behind a DNS subdomain and a slash where there is one.
fn checked_key(key: &str) -> Result<&str, String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let label = |part: &str| {
        let allowed = part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        !part.is_empty() && allowed && !part.starts_with('-') && !part.ends_with('-')
    };
    if prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(label)) && is_name(name) {
        return Ok(key);
    }
    Err(format!("`{key}` is not the key of a label; write a selector as in `app=checkout,tier!=web`"))
}

fn checked_value(value: &str) -> Result<&str, String> {
    if value.is_empty() || is_name(value) || value.starts_with("$(") && value.ends_with(')') {
        return Ok(value);
    }
    Err(format!("`{value}` is not the value of a label: letters, digits and `-_.` between letters and digits"))
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let allowed = bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b));
    text.len() <= 63 && allowed && ends(bytes.first()) && ends(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_and_objects_become_queries() {
        for text in ["app=checkout", "a==b, c!=d", "e in (x, y),!f", "g notin (z),h"] {
            assert_eq!(to_query(&json!(text)).as_deref(), Ok(text));
        }
        let object = json!({"matchLabels": {"app": "x"}, "matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": ["a", "b"]}, {"key": "z", "operator": "DoesNotExist"}]});
        let query = to_query(&object).expect("a selector");
        let mut parts = split(&query);
        parts.sort_unstable();
        assert_eq!(parts, ["!z", "app=x", "tier notin (a,b)"]);
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        for (bad, part) in [
            (json!("app checkout"), "not the key"),
            (json!(""), "not the key"),
            (json!("a in ()"), "no value"),
            (json!("-a"), "not the key"),
            (json!("a/b/c"), "not the key"),
            (json!("A/b"), "not the key"),
            (json!("a=-b"), "not the value"),
            (json!(5), "is text"),
            (json!({}), "everything"),
            (json!({"matchLabel": {}}), "unknown key"),
            (json!({"matchLabels": {"a": 1}}), "quotes"),
            (json!({"matchExpressions": [{"key": "a", "operator": "In"}]}), "values"),
            (json!({"matchExpressions": [{"key": "a", "operator": "Is"}]}), "operator"),
        ] {
            let error = to_query(&bad).expect_err("nonsense");
            assert!(error.contains(part), "{bad}: {error}");
        }
    }
}
