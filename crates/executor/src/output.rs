//! What a program says about itself in its output: usage, and whether its provider was unavailable. The output is read
//! event by event, so that memory does not grow with it.

use std::io::BufRead;

use catalog::{AgentOutput, AgentPreset, AnswerSource, OutputFormat, Price};
use expr::{Evaluation, Expression};
use model::{AnswerRecord, Usage, UsageSource};
use serde_json::{Value, json};

use crate::answer::{from_output, from_value, last_object};
use crate::lines::TRUNCATED;

/// The longest name of a model that is kept.
const MAX_MODEL: usize = 128;
/// Bytes of the end of standard error that a condition sees.
const STDERR: usize = 8 * 1024;

/// What a program's output says, as a case keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The answer, where it is read from the output.
    pub answer: AnswerRecord,
    /// What was consumed.
    pub usage: Usage,
    /// Why the provider was not there, where `condition` holds.
    pub unavailable: Option<String>,
}

/// Reads an output that is there as a whole, as a preset describes it.
/// `condition` says when its provider was not there.
pub fn told(preset: &AgentPreset, condition: Option<&Expression>, stdout: &str, stderr: &str) -> Told {
    let output = &preset.output;
    let mut reading = Reading::of(output, stdout);
    reading.count(output, stdout.as_bytes());
    let answer = match preset.answer {
        AnswerSource::Output => from_value(reading.answer(output), false),
        AnswerSource::Stdout | AnswerSource::File => from_output(stdout, false),
    };
    let unavailable = condition.and_then(|condition| reading.unavailable(condition, stderr));
    Told { answer, usage: reading.usage(output, &preset.command), unavailable }
}

/// What the events of an output come to.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    final_: Option<Value>,
    last: Option<Value>,
    turns: Option<u64>,
    tool_calls: Option<u64>,
    model: Option<String>,
}

impl Reading {
    /// Reads the end of an output, for the events that sum it up.
    pub(crate) fn of(output: &AgentOutput, end: &str) -> Self {
        let mut reading = Self::default();
        match output.format {
            OutputFormat::Text => {}
            OutputFormat::Json => {
                if let Some(event) = last_object(end).and_then(|text| serde_json::from_str(text).ok()) {
                    reading.take(output, event);
                }
            }
            OutputFormat::Jsonl => end.lines().filter_map(event).for_each(|event| reading.take(output, event)),
        }
        reading
    }

    /// Counts over the whole output what is counted over all events; nothing where a part of it is missing.
    pub(crate) fn count(&mut self, output: &AgentOutput, whole: impl BufRead) {
        if output.format != OutputFormat::Jsonl {
            return;
        }
        let mut all = Self::default();
        for line in whole.split(b'\n') {
            let Ok(line) = line else { return };
            if line == TRUNCATED.as_bytes() {
                (self.turns, self.tool_calls) = (None, None);
                return;
            }
            if let Some(event) = std::str::from_utf8(&line).ok().and_then(event) {
                all.take(output, event);
            }
        }
        (self.turns, self.tool_calls) = (all.turns, all.tool_calls);
        self.model = all.model.or(self.model.take());
    }

    fn take(&mut self, output: &AgentOutput, event: Value) {
        let counted = |pattern: &Option<Value>, sum: Option<u64>| {
            pattern.as_ref().map(|pattern| sum.unwrap_or_default().saturating_add(matches(pattern, &event))).or(sum)
        };
        self.turns = counted(&output.count.turns, self.turns);
        self.tool_calls = counted(&output.count.tool_calls, self.tool_calls);
        if self.model.is_none() {
            self.model = output.model.as_deref().and_then(|pointer| name_at(&event, pointer));
        }
        let wanted = output
            .final_
            .iter()
            .flatten()
            .all(|(key, pattern)| event.get(key).is_some_and(|value| matches(pattern, value) > 0));
        if wanted {
            self.final_ = Some(event.clone());
        }
        self.last = Some(event);
    }

    /// What the final event has in the place of the answer.
    pub(crate) fn answer(&self, output: &AgentOutput) -> Option<&Value> {
        self.final_.as_ref()?.pointer(output.answer.as_deref()?)
    }

    /// What the agent consumed, as far as it says; what it does not say of the cost follows from prices.
    pub(crate) fn usage(&self, output: &AgentOutput, command: &[String]) -> Usage {
        let at = |pointers: &[String]| -> Option<u64> {
            let numbers = pointers.iter().filter_map(|pointer| number(self.final_.as_ref()?.pointer(pointer)?));
            numbers.reduce(u64::saturating_add)
        };
        let dollars = |pointers: &[String]| -> Option<f64> {
            let numbers = pointers.iter().filter_map(|pointer| self.final_.as_ref()?.pointer(pointer)?.as_f64());
            numbers.reduce(|a, b| a + b).filter(|sum| sum.is_finite() && *sum >= 0.0)
        };
        let pointers = &output.usage;
        let mut usage = Usage {
            source: UsageSource::Unknown,
            input_tokens: at(&pointers.input_tokens),
            cached_input_tokens: at(&pointers.cached_input_tokens),
            output_tokens: at(&pointers.output_tokens),
            turns: at(&pointers.turns).or(self.turns),
            tool_calls: at(&pointers.tool_calls).or(self.tool_calls),
            cost_usd: dollars(&pointers.cost_usd),
            model: None,
        };
        let told = [usage.input_tokens, usage.output_tokens, usage.turns, usage.tool_calls];
        if usage.cost_usd.is_some() || told.iter().any(Option::is_some) {
            usage.source = UsageSource::Reported;
            let in_final =
                self.final_.as_ref().zip(output.model.as_deref()).and_then(|(last, pointer)| name_at(last, pointer));
            usage.model = in_final.or_else(|| self.model.clone()).or_else(|| model_of(command));
        }
        if usage.cost_usd.is_none()
            && let Some(cost) = computed(&usage, output)
        {
            (usage.cost_usd, usage.source) = (Some(cost), UsageSource::Computed);
        }
        usage
    }

    /// Why the agent's provider was not there, where its output says so.
    pub(crate) fn unavailable(&self, condition: &Expression, stderr: &str) -> Option<String> {
        let none = json!({});
        let mut start = stderr.len().saturating_sub(STDERR);
        while !stderr.is_char_boundary(start) {
            start += 1;
        }
        let stderr = Value::from(&stderr[start..]);
        let (final_, last) = (self.final_.as_ref().unwrap_or(&none), self.last.as_ref().unwrap_or(&none));
        match condition.evaluate(&[("final", final_), ("last", last), ("stderr", &stderr)]) {
            Evaluation::Holds => Some("the agent reports that its provider was not available".to_owned()),
            Evaluation::DoesNotHold(_) => None,
        }
    }
}

fn event(line: &str) -> Option<Value> {
    serde_json::from_str(line.trim()).ok().filter(Value::is_object)
}

/// In how many ways a value matches: see [`AgentOutput::count`].
fn matches(pattern: &Value, value: &Value) -> u64 {
    match (pattern, value) {
        (Value::Array(alternatives), _) => alternatives.iter().map(|one| matches(one, value)).max().unwrap_or_default(),
        (_, Value::Array(elements)) => {
            elements.iter().map(|element| matches(pattern, element)).fold(0, u64::saturating_add)
        }
        (Value::Object(members), Value::Object(object)) => members
            .iter()
            .map(|(key, pattern)| object.get(key).map_or(0, |value| matches(pattern, value)))
            .fold(1, u64::saturating_mul),
        _ => u64::from(pattern == value),
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_array().map(|elements| elements.len() as u64).or_else(|| value.as_u64())
}

fn name_at(value: &Value, pointer: &str) -> Option<String> {
    let name = value.pointer(pointer)?.as_str()?;
    (!name.is_empty() && name.len() <= MAX_MODEL && !name.chars().any(char::is_control)).then(|| name.to_owned())
}

/// The model that a command line names.
fn model_of(command: &[String]) -> Option<String> {
    let mut words = command.iter();
    let mut found = None;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--model" | "-m" => found = words.next().cloned(),
            other => found = other.strip_prefix("--model=").map(str::to_owned).or(found),
        }
    }
    found.and_then(|name| name_at(&Value::from(name), ""))
}

/// The cost by the price table: of the model itself, or of the longest name that its name begins with.
fn computed(usage: &Usage, output: &AgentOutput) -> Option<f64> {
    let model = usage.model.as_deref()?;
    let names = output.prices.iter().filter(|(name, _)| model.starts_with(name.as_str()));
    let (_, price): (_, &Price) = names.max_by_key(|(name, _)| name.len())?;
    let (input, output) = (usage.input_tokens?, usage.output_tokens?);
    let cached = usage.cached_input_tokens.unwrap_or_default().min(input);
    let dollars = (input - cached) as f64 * price.input
        + cached as f64 * price.cached_input.unwrap_or(price.input)
        + output as f64 * price.output;
    Some(dollars / 1_000_000.0)
}

#[cfg(test)]
mod tests {
    use catalog::{AgentPreset, UsagePointers};
    use yaml::Source;

    use super::*;

    fn output(text: &str) -> AgentOutput {
        let text = format!("id: probe\ncommand: [probe]\noutput: {text}\n");
        AgentPreset::parse(&Source::new("probe.yaml", text), Some("probe")).expect("a preset").output
    }

    const STREAM: &str = concat!(
        "{\"type\":\"system\",\"model\":\"opus\"}\n",
        "not json\n",
        "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"num_turns\":7,\"total_cost_usd\":0.25,",
        "\"usage\":{\"input_tokens\":1200,\"output_tokens\":-3,\"cached\":200}}\n",
        "{\"type\":\"bye\"}\n",
    );

    fn unavailable(output: &AgentOutput, condition: &str, stream: &str, stderr: &str) -> bool {
        let condition = Expression::compile(condition).expect("an expression");
        Reading::of(output, stream).unavailable(&condition, stderr).is_some()
    }

    #[test]
    fn usage_is_read_from_the_final_line() {
        let output = output(
            "{format: jsonl, final: {type: result}, model: /model, usage: {input_tokens: [/usage/input_tokens, \
             /usage/cached, /absent], output_tokens: /usage/output_tokens, turns: /num_turns, cost_usd: /total_cost_usd}}",
        );
        let usage = Reading::of(&output, STREAM).usage(&output, &[]);
        assert_eq!(usage.source, UsageSource::Reported);
        assert_eq!((usage.input_tokens, usage.output_tokens, usage.turns), (Some(1400), None, Some(7)));
        assert_eq!((usage.cost_usd, usage.model.as_deref()), (Some(0.25), Some("opus")));
        assert!(!unavailable(&output, "final.is_error && final.subtype == \"x\"", STREAM, ""));
        assert!(unavailable(&output, "final.subtype == \"success\"", STREAM, ""));
        assert!(unavailable(&output, "final.is_error || last.type == \"bye\"", STREAM, ""));
    }

    #[test]
    fn one_side_of_a_condition_may_have_nothing_to_look_at() {
        let output = output("{format: jsonl, final: {type: result}}");
        let condition = "final.is_error || last.subtype == \"retry\" || stderr.contains(\"quota\")";
        assert!(unavailable(&output, condition, "{\"subtype\": \"retry\"}\n", ""));
        assert!(unavailable(&output, condition, "", "out of quota"));
        assert!(!unavailable(&output, condition, "", &"é".repeat(STDERR)));
    }

    #[test]
    fn silence_is_unknown_usage() {
        let (text, object) = (AgentOutput::default(), output("{format: json}"));
        assert_eq!(Reading::of(&text, STREAM).usage(&text, &[]), Usage::default());
        assert_eq!(Reading::of(&object, "").usage(&object, &["-m".into(), "x".into()]), Usage::default());
        assert_eq!(Reading::of(&object, "text {\"a\": 1} more").final_, Some(json!({"a": 1})));
    }

    #[test]
    fn events_are_counted_over_the_whole_output() {
        let output = output(
            "{format: jsonl, count: {turns: {type: turn}, tool_calls: {type: [item, message], \
             content: {kind: [command, search]}}}}",
        );
        let stream = [
            json!({"type": "turn"}),
            json!({"type": "item", "content": {"kind": "command"}}),
            json!({"type": "item", "content": {"kind": "text"}}),
            json!({"type": "message", "content": [{"kind": "search"}, {"kind": "text"}, {"kind": "command"}]}),
            json!({"type": "other", "content": {"kind": "command"}}),
        ];
        let whole: String = stream.iter().map(|event| format!("{event}\n")).collect();
        let mut reading = Reading::of(&output, "");
        reading.count(&output, whole.as_bytes());
        assert_eq!((reading.turns, reading.tool_calls), (Some(1), Some(3)));
        let mut reading = Reading::of(&output, &whole);
        reading.count(&output, format!("{whole}{TRUNCATED}\n").as_bytes());
        assert_eq!((reading.turns, reading.tool_calls), (None, None), "half a count is none");
    }

    #[test]
    fn a_cost_follows_from_tokens_and_prices() {
        let output = output(
            "{format: json, usage: {input_tokens: /i, cached_input_tokens: /c, output_tokens: /o}, \
             prices: {gpt: {input: 100, output: 100}, gpt-5: {input: 2, cached_input: 0.5, output: 10}}}",
        );
        let usage = |text: &str, command: &[&str]| {
            let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
            Reading::of(&output, text).usage(&output, &command)
        };
        let known = usage("{\"i\": 1000000, \"c\": 400000, \"o\": 100000}", &["x", "-m", "a", "--model=gpt-5-mini"]);
        assert_eq!((known.source, known.cost_usd), (UsageSource::Computed, Some(0.6 * 2.0 + 0.4 * 0.5 + 1.0)));
        let unknown = usage("{\"i\": 1, \"o\": 1}", &["x", "--model", "other"]);
        assert_eq!((unknown.source, unknown.cost_usd), (UsageSource::Reported, None));
        assert_eq!(usage("{\"i\": 1}", &["-m", "gpt-5"]).cost_usd, None, "half the tokens make no cost");
        assert_eq!(output.usage.turns, UsagePointers::default().turns);
    }
}
