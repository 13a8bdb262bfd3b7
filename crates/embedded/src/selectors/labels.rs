//! Label selectors, by the grammar of apimachinery (`labels.Parse`).

use std::collections::BTreeSet;
use std::fmt;
use std::iter::Peekable;
use std::vec::IntoIter;

use serde_json::{Value, json};

use crate::error::{ApiError, Cause};
use crate::object;
use crate::validation::names::{label_value, qualified};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

/// A label selector; without requirements it matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector {
    tests: Vec<(String, Test)>,
}

impl LabelSelector {
    pub(crate) fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// `app=web,tier in (a,b),!old`.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        Parser { tokens: tokens(text).into_iter().peekable() }.selector().map_err(ApiError::bad_request)
    }

    /// A `LabelSelector` object.
    pub(crate) fn from_object(selector: &Value) -> Result<Self, ApiError> {
        let mut tests = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            tests.push((key.clone(), Test::In([value.as_str().unwrap_or_default().to_owned()].into())));
        }
        for requirement in object::list(selector, &["matchExpressions"]) {
            let values = || {
                object::list(requirement, &["values"]).iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
            };
            let test = match object::text(requirement, &["operator"]) {
                "In" => Test::In(values()),
                "NotIn" => Test::NotIn(values()),
                "Exists" => Test::Exists,
                "DoesNotExist" => Test::Absent,
                other => {
                    return Err(ApiError::bad_request(format!("{other:?} is not a valid label selector operator")));
                }
            };
            tests.push((object::text(requirement, &["key"]).to_owned(), test));
        }
        Ok(Self { tests })
    }

    pub(crate) fn matches_labels(&self, labels: &Value) -> bool {
        self.tests.iter().all(|(key, test)| {
            let value = labels.get(key).and_then(Value::as_str);
            match test {
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::Greater(bound) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v > *bound),
                Test::Less(bound) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v < *bound),
            }
        })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.is_empty() || self.matches_labels(object::at(object, &["metadata", "labels"]))
    }
}

/// The canonical spelling.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        for (index, (key, test)) in self.tests.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match test {
                Test::In(values) if values.len() == 1 => write!(f, "{key}={}", list(values)),
                Test::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", list(values)),
                Test::In(values) => write!(f, "{key} in ({})", list(values)),
                Test::NotIn(values) => write!(f, "{key} notin ({})", list(values)),
                Test::Exists => write!(f, "{key}"),
                Test::Absent => write!(f, "!{key}"),
                Test::Greater(bound) => write!(f, "{key}>{bound}"),
                Test::Less(bound) => write!(f, "{key}<{bound}"),
            }?;
        }
        Ok(())
    }
}

/// A word, or one of `( ) , ! = == != < >`.
fn tokens(text: &str) -> Vec<&str> {
    let special = |c: char| "()=!,<>".contains(c);
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match rest.get(..2) {
            Some("==" | "!=") => 2,
            _ if special(first) => 1,
            _ => rest.find(|c: char| special(c) || c.is_whitespace()).unwrap_or(rest.len()),
        };
        tokens.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    tokens
}

fn is_word(token: &str) -> bool {
    !token.is_empty() && !token.starts_with(['(', ')', '=', '!', ',', '<', '>'])
}

struct Parser<'a> {
    tokens: Peekable<IntoIter<&'a str>>,
}

impl<'a> Parser<'a> {
    /// Nothing at the end.
    fn next(&mut self) -> &'a str {
        self.tokens.next().unwrap_or_default()
    }

    fn peek(&mut self) -> &'a str {
        self.tokens.peek().copied().unwrap_or_default()
    }

    fn selector(mut self) -> Result<LabelSelector, String> {
        let mut tests = Vec::new();
        if self.peek().is_empty() {
            return Ok(LabelSelector::default());
        }
        loop {
            let token = self.peek();
            if !is_word(token) && token != "!" {
                let after = if tests.is_empty() { "!, identifier, or 'end of string'" } else { "identifier after ','" };
                return Err(format!("found '{token}', expected: {after}"));
            }
            tests.push(self.requirement().map_err(|why| format!("unable to parse requirement: {why}"))?);
            match self.next() {
                "" => return Ok(LabelSelector { tests }),
                "," => {}
                other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<(String, Test), String> {
        let absent = self.tokens.next_if_eq(&"!").is_some();
        let key = self.next();
        if !is_word(key) {
            return Err(format!("found '{key}', expected: identifier"));
        }
        // The place of a key has no name in the API server's words either.
        if let Some(cause) = qualified("<nil>", key).first() {
            return Err(in_words(cause));
        }
        let test = if absent {
            Test::Absent
        } else if matches!(self.peek(), "" | ",") {
            Test::Exists
        } else {
            self.comparison(key)?
        };
        Ok((key.to_owned(), test))
    }

    fn comparison(&mut self, key: &str) -> Result<Test, String> {
        match self.next() {
            "in" => Ok(Test::In(self.values(key)?)),
            "notin" => Ok(Test::NotIn(self.values(key)?)),
            "=" | "==" => Ok(Test::In([self.value(key)?].into())),
            "!=" => Ok(Test::NotIn([self.value(key)?].into())),
            ">" => Ok(Test::Greater(self.bound(key)?)),
            "<" => Ok(Test::Less(self.bound(key)?)),
            other => Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
        }
    }

    fn value(&mut self, key: &str) -> Result<String, String> {
        match self.peek() {
            "" | "," => Ok(String::new()),
            word if is_word(word) => checked_value(key, self.next()),
            other => Err(format!("found '{other}', expected: identifier")),
        }
    }

    fn bound(&mut self, key: &str) -> Result<i64, String> {
        let value = self.value(key)?;
        value.parse().map_err(|_| {
            format!("values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer")
        })
    }

    /// `(a,b)`: what is left out between commas is the empty value.
    fn values(&mut self, key: &str) -> Result<BTreeSet<String>, String> {
        match self.next() {
            "(" => {}
            other => return Err(format!("found '{other}' expected: '('")),
        }
        let mut values = BTreeSet::new();
        if self.tokens.next_if_eq(&")").is_some() {
            return Err("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty".to_owned());
        }
        loop {
            let word = self.tokens.next_if(|token| is_word(token)).unwrap_or_default();
            values.insert(checked_value(key, word)?);
            match self.next() {
                "," => {}
                ")" => return Ok(values),
                other => return Err(format!("found '{other}', expected: ',' or ')'")),
            }
        }
    }
}

fn checked_value(key: &str, value: &str) -> Result<String, String> {
    match label_value(&format!("values[0][{key}]"), &json!(value)).first() {
        Some(cause) => Err(in_words(cause)),
        None => Ok(value.to_owned()),
    }
}

fn in_words(cause: &Cause) -> String {
    format!("{}: {}", cause.field, cause.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selectors_select() {
        let labels = json!({"app": "web", "tier": "a", "n": "5"});
        for (text, expected) in [
            ("app=web", true),
            ("app==web,tier in (a, b)", true),
            ("app!=web", false),
            ("!gone", true),
            ("gone", false),
            ("tier notin (a)", false),
            ("tier notin (,b)", true),
            ("app", true),
            ("n>4", true),
            ("n<4", false),
            ("", true),
            ("gone=", false),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap().matches_labels(&labels), expected, "{text}");
        }
    }

    #[test]
    fn what_apimachinery_refuses_is_refused() {
        for text in [
            "a=b=c",
            "a b",
            "main (a)",
            "keynotin (a)",
            "a in ()",
            "a in (b",
            "a in b",
            "a,",
            ",a",
            "a,,b",
            "!a=b",
            "a>x",
            "a=(b)",
            "-a=b",
            "a/b/c=d",
            "A.b/c",
            "a=-b",
        ] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_spelling_for_what_means_the_same() {
        for (text, canonical) in [
            (" app == web , tier in (b, a,b)", "app=web,tier in (a,b)"),
            ("a in (x)", "a=x"),
            ("a notin (,)", "a!="),
            ("a in (x,)", "a in (,x)"),
            ("! a,in,notin in (in)", "!a,in,notin=in"),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap().to_string(), canonical, "{text}");
        }
    }
}
