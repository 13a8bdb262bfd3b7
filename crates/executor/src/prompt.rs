//! What an agent reads: the prompt of the task with the places and words that belong to it. The same for every failure.

use std::fmt::Write as _;
use std::path::Path;

use catalog::AnswerSource;
use model::Task;
use serde_json::{Value, json};

/// What the placeholders of a command stand for.
pub(crate) struct Places<'a> {
    pub(crate) harness: &'a Path,
    pub(crate) task: &'a Path,
    pub(crate) answer: &'a Path,
    pub(crate) prompt: &'a str,
}

/// The prompt as an agent that reads no task file needs it.
pub(crate) fn prompt(task: &Task, source: AnswerSource, answer: &Path, task_file: &Path) -> String {
    let mut text = format!("{}\n\n", task.prompt.trim_end());
    // Writing to a String cannot fail.
    let _ = match source {
        AnswerSource::File => writeln!(text, "Write the answer to: {}", answer.display()),
        AnswerSource::Stdout => writeln!(text, "Print the answer as the last JSON object on standard output."),
        AnswerSource::Output => writeln!(text, "End what you say with the answer, a JSON object."),
    };
    let _ = writeln!(text, "JSON Schema of the answer: {}", task.answer.schema);
    let _ = writeln!(text, "Words for fault_type:");
    for (word, meaning) in &task.fault_types {
        let _ = writeln!(text, "- {word}: {meaning}");
    }
    let _ = writeln!(text, "Deadline: {}", task.deadline);
    let _ = writeln!(text, "All of this as JSON: {}", task_file.display());
    text
}

/// A word of a command with its placeholders replaced, each once: what is put in is not looked at again.
pub(crate) fn expand(word: &str, places: &Places<'_>) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find("$(") {
        let (before, from) = rest.split_at(at);
        // As in Kubernetes' own commands, `$$(x)` is the text `$(x)`.
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("$(");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        rest = from;
        let values = [
            ("$(harness)", places.harness.to_string_lossy()),
            ("$(task)", places.task.to_string_lossy()),
            ("$(answer)", places.answer.to_string_lossy()),
            ("$(prompt)", places.prompt.into()),
        ];
        match values.into_iter().find_map(|(name, value)| Some((rest.strip_prefix(name)?, value))) {
            Some((after, value)) => {
                out.push_str(&value);
                rest = after;
            }
            None => {
                out.push_str("$(");
                rest = &rest[2..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The JSON Schema of an answer, as tasks carry it.
pub fn answer_schema() -> Value {
    json!({
        "type": "object",
        "required": ["fault_present"],
        "properties": {
            "fault_present": {"type": "boolean", "description": "whether anything is wrong"},
            "root_causes": {
                "type": "array",
                "description": "the objects that cause it, not those that only suffer",
                "items": {
                    "type": "object",
                    "required": ["kind", "name"],
                    "properties": {
                        "kind": {"type": "string"},
                        "namespace": {"type": "string"},
                        "name": {"type": "string"}
                    }
                }
            },
            "fault_type": {"type": "string", "description": "one of the words of fault_types"},
            "explanation": {"type": "string"},
            "fixed": {"type": "boolean", "description": "whether you have repaired it"}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_once() {
        let places = Places {
            harness: Path::new("/bin/h"),
            task: Path::new("/w/task.json"),
            answer: Path::new("/w/answer.json"),
            prompt: "say $(harness)",
        };
        let cases = [
            ("$(harness)", "/bin/h"),
            ("--task=$(task),$(answer)", "--task=/w/task.json,/w/answer.json"),
            ("$(prompt)!", "say $(harness)!"),
            ("$(date) $(", "$(date) $("),
            ("x=$$(kubectl get $$(task)) $(task)", "x=$(kubectl get $(task)) /w/task.json"),
            ("plain", "plain"),
        ];
        for (word, expected) in cases {
            assert_eq!(expand(word, &places), expected);
        }
    }
}
