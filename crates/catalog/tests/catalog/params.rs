use std::collections::BTreeMap;

use catalog::{Metadata, ParamsSchema};
use proptest::prelude::*;
use serde_json::{Value, json};
use yaml::Source;

use super::assert_errors;

fn schema(value: Value) -> ParamsSchema {
    ParamsSchema::try_from(value).expect("a schema")
}

fn example() -> ParamsSchema {
    schema(json!({"type": "object", "properties": {
        "memory": {"type": "string", "default": "32Mi", "pattern": "^[0-9]+Mi$", "maxLength": 6},
        "replicas": {"type": "integer", "default": 2, "minimum": 1, "maximum": 9},
        "mode": {"enum": ["a", "b"], "default": "a"},
        "ports": {"type": "array", "items": {"type": "integer"}, "default": [], "maxItems": 2},
        "extra": {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"], "additionalProperties": false, "default": {"x": true}}
    }}))
}

fn values(given: &[(&str, Value)]) -> Result<Value, String> {
    let given: BTreeMap<String, Value> = given.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    example().values(&given).map_err(|problems| problems.iter().map(|p| p.to_string()).collect::<Vec<_>>().join("; "))
}

#[test]
fn defaults_fill_what_is_not_given() {
    let all = json!({"memory": "32Mi", "replicas": 2, "mode": "a", "ports": [], "extra": {"x": true}});
    assert_eq!(values(&[]), Ok(all.clone()));
    let given = values(&[("memory", json!("64Mi")), ("replicas", json!(3.0)), ("ports", json!([80]))]).expect("valid");
    assert_eq!((&given["memory"], &given["replicas"], &given["mode"]), (&json!("64Mi"), &json!(3.0), &json!("a")));
}

#[test]
fn every_keyword_is_checked() {
    for (name, value, part) in [
        ("memory", json!(5), "expected text, found `5`"),
        ("memory", json!("lots"), "does not match"),
        ("memory", json!("123456Mi"), "at most 6"),
        ("replicas", json!(1.5), "a whole number"),
        ("replicas", json!(0), "below the minimum 1"),
        ("replicas", json!(10), "above the maximum 9"),
        ("mode", json!("c"), "none of"),
        ("ports", json!(["x"]), "item 0: expected a whole number"),
        ("ports", json!([1, 2, 3]), "at most 2"),
        ("extra", json!({}), "`x` is missing"),
        ("extra", json!({"x": true, "y": 1}), "no property `y`"),
        ("extra", json!({"x": 1}), "`x`: expected `true` or `false`"),
        ("memroy", json!("1Mi"), "did you mean `memory`?"),
    ] {
        let error = values(&[(name, value.clone())]).expect_err(name);
        assert!(error.contains(part), "{name} = {value}: {error}");
    }
    let two = values(&[("memory", json!(1)), ("replicas", json!(99))]).expect_err("two");
    assert!(two.contains("memory") && two.contains("replicas"), "{two}");
}

#[test]
fn text_of_the_command_line_gets_the_type_that_is_wanted() {
    let params = example();
    assert_eq!(params.from_text("memory", "3"), json!("3"));
    assert_eq!(params.from_text("replicas", "3"), json!(3));
    assert_eq!(params.from_text("mode", "b"), json!("b"));
    assert_eq!(params.from_text("ports", "[1]"), json!([1]));
}

#[test]
fn schemas_are_checked_where_they_stand() {
    let text = "\
name: n
description: d
expected_duration: 1s
params:
  type: object
  properties:
    a: {type: string}
    b: {type: strng, default: 1}
    c: {type: integer, default: x}
    d: {default: 1, oneOf: []}
    e: {type: string, default: x, pattern: '('}
    f: {default: 5, enum: []}
    g h: {default: 1}
  required: [z]
";
    let found = Metadata::parse(&Source::new("m", text), Some("x")).expect_err("a wrong schema");
    assert_errors(
        text,
        &found,
        &[
            "8:15 did you mean `string`?",
            "9:33 the default does not fit its own schema: expected a whole number",
            "10:21 unknown key `oneOf` in a JSON Schema",
            "11:44 not a regular expression",
            "12:27 this list is empty",
            "13:5 not the name of a parameter",
        ],
    );
    let missing =
        "name: n\ndescription: d\nexpected_duration: 1s\nparams: {properties: {a: {type: string}}, required: [z]}\n";
    let found = Metadata::parse(&Source::new("m", missing), Some("x")).expect_err("wrong");
    assert!(found.to_string().contains("`z` is required, but there is no such property"), "{found}");
    let found =
        Metadata::parse(&Source::new("m", missing.replace(", required: [z]", "")), Some("x")).expect_err("wrong");
    assert_errors(missing, &found, &["4:23 parameter `a` needs a default"]);
    assert!(ParamsSchema::try_from(json!({"type": "string"})).expect_err("no object").contains("type: object"));
}

proptest! {
    #[test]
    fn integers_are_accepted_exactly_within_bounds(n in -100i64..100) {
        prop_assert_eq!(values(&[("replicas", json!(n))]).is_ok(), (1..=9).contains(&n));
    }
}
