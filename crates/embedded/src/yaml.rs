//! JSON values written as YAML, as the API server writes them for `Accept: application/yaml`.

use serde_json::Value;

/// The document, keys sorted, strings quoted where they would be read as something else.
pub(crate) fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(value, 0, &mut text),
        Value::Array(list) if !list.is_empty() => block(value, 0, &mut text),
        _ => {
            text.push_str(&scalar(value));
            text.push('\n');
        }
    }
    text
}

fn block(value: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                out.push_str(&pad);
                out.push_str(&string(key));
                out.push(':');
                entry(value, indent, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                let start = out.len();
                match item {
                    Value::Object(map) if !map.is_empty() => block(item, indent + 2, out),
                    Value::Array(list) if !list.is_empty() => block(item, indent + 2, out),
                    _ => {
                        out.push_str(&pad);
                        out.push_str("  ");
                        out.push_str(&scalar(item));
                        out.push('\n');
                    }
                }
                out.replace_range(start + indent..start + indent + 1, "-");
            }
        }
        _ => {}
    }
}

fn entry(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(value, indent + 2, out);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            block(value, indent, out);
        }
        _ => {
            out.push(' ');
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        other => other.to_string(),
    }
}

fn string(text: &str) -> String {
    let plain = !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:{}\",=<>()[] ".contains(c))
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || "/.".contains(c))
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n" | "~" | "." | ".."
        )
        && text.parse::<f64>().is_err();
    if plain { text.to_owned() } else { Value::String(text.to_owned()).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_reads_the_same() {
        let value = json!({
            "a": "1", "b": [{"x": 1, "y": {"z": "true"}}, {"f:data": {".": {}, "f:a": {}}}, []], "c": {}, "d": null,
            "e": "2026-11-21T04:11:26Z", "f": "with: colon", "g": "multi\nline", "h": "plain text", "k": [["n"], 2],
            "kind": "ConfigMap", "l": "- x", "m": "#", "n": "*",
        });
        let bytes = bytes::Bytes::from(to_yaml(&value));
        assert_eq!(wire::decode("application/yaml", &bytes).unwrap(), value, "{}", String::from_utf8_lossy(&bytes));
    }
}
