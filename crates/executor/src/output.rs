//! What a program says about itself in its output: usage, and whether its provider was unavailable.

use catalog::OutputFormat;
use expr::{Evaluation, Expression};
use model::{Usage, UsageSource};
use serde_json::{Map, Value};

use crate::answer::last_object;

/// The object that sums up a run: the last line with these members, or the last object.
pub(crate) fn final_object(format: OutputFormat, members: &Map<String, Value>, stdout: &str) -> Option<Value> {
    let matches = |value: &Value| {
        value.as_object().is_some_and(|object| members.iter().all(|(key, wanted)| object.get(key) == Some(wanted)))
    };
    let found = match format {
        OutputFormat::Text => None,
        OutputFormat::Json => last_object(stdout).and_then(|o| serde_json::from_str(o).ok()),
        OutputFormat::Jsonl => {
            stdout.lines().rev().filter_map(|line| serde_json::from_str(line.trim()).ok()).find(|v: &Value| matches(v))
        }
    };
    found.filter(matches)
}

/// JSON pointers into the final object, one for each number of [`Usage`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pointers<'a> {
    pub(crate) input_tokens: Option<&'a str>,
    pub(crate) output_tokens: Option<&'a str>,
    pub(crate) turns: Option<&'a str>,
    pub(crate) cost_usd: Option<&'a str>,
}

/// What the agent consumed, as far as it says.
pub(crate) fn usage(last: Option<&Value>, pointers: Pointers<'_>) -> Usage {
    let Some(last) = last else { return Usage::default() };
    let at = |pointer: Option<&str>| pointer.and_then(|p| last.pointer(p));
    let count = |pointer| at(pointer).and_then(Value::as_u64);
    let mut usage = Usage {
        source: UsageSource::Reported,
        input_tokens: count(pointers.input_tokens),
        output_tokens: count(pointers.output_tokens),
        turns: count(pointers.turns),
        cost_usd: at(pointers.cost_usd).and_then(Value::as_f64).filter(|c| c.is_finite() && *c >= 0.0),
    };
    if (usage.input_tokens, usage.output_tokens, usage.turns) == (None, None, None) && usage.cost_usd.is_none() {
        usage.source = UsageSource::Unknown;
    }
    usage
}

/// Why the agent's provider was not there, where the final object says so.
pub(crate) fn unavailable(last: Option<&Value>, condition: &Expression) -> Option<String> {
    let last = last?;
    match condition.evaluate(&[("final", last)]) {
        Evaluation::Holds => Some("the agent reports that its provider was not available".to_owned()),
        Evaluation::DoesNotHold(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STREAM: &str = concat!(
        "{\"type\":\"system\"}\n",
        "not json\n",
        "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"num_turns\":7,\"total_cost_usd\":0.25,",
        "\"usage\":{\"input_tokens\":1200,\"output_tokens\":-3}}\n",
        "{\"type\":\"bye\"}\n",
    );

    #[test]
    fn usage_is_read_from_the_final_line() {
        let members = json!({"type": "result"});
        let last = final_object(OutputFormat::Jsonl, members.as_object().expect("an object"), STREAM);
        let pointers = Pointers {
            input_tokens: Some("/usage/input_tokens"),
            output_tokens: Some("/usage/output_tokens"),
            turns: Some("/num_turns"),
            cost_usd: Some("/total_cost_usd"),
        };
        let usage = usage(last.as_ref(), pointers);
        assert_eq!(usage.source, UsageSource::Reported);
        assert_eq!((usage.input_tokens, usage.output_tokens, usage.turns), (Some(1200), None, Some(7)));
        assert_eq!(usage.cost_usd, Some(0.25));
        let condition = Expression::compile("final.is_error && final.subtype == \"x\"").expect("an expression");
        assert_eq!(unavailable(last.as_ref(), &condition), None);
        let condition = Expression::compile("final.subtype == \"success\"").expect("an expression");
        assert!(unavailable(last.as_ref(), &condition).is_some());
    }

    #[test]
    fn silence_is_unknown_usage() {
        let none = Map::new();
        assert_eq!(final_object(OutputFormat::Text, &none, STREAM), None);
        assert_eq!(usage(None, Pointers::default()).source, UsageSource::Unknown);
        assert_eq!(usage(Some(&json!({})), Pointers::default()).source, UsageSource::Unknown);
        let last = final_object(OutputFormat::Json, &none, "text {\"a\": 1} more");
        assert_eq!(last, Some(json!({"a": 1})));
    }
}
