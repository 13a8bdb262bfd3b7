//! What agents and live tests print: reports, answers and usage are found in it whatever stands around them.

use std::sync::LazyLock;

use catalog::AgentPreset;
use executor::{LiveReport, LiveStatus};
use expr::Expression;
use yaml::Source;

/// The presets whose streams are read event by event.
static PRESETS: LazyLock<Vec<(AgentPreset, Option<Expression>)>> = LazyLock::new(|| {
    let texts = [
        ("claude", include_str!("../../../agents/claude.yaml")),
        ("codex", include_str!("../../../agents/codex.yaml")),
        ("gemini", include_str!("../../../agents/gemini.yaml")),
        ("holmesgpt", include_str!("../../../agents/holmesgpt.yaml")),
    ];
    let read = |(id, text): (&str, &str)| {
        let preset = AgentPreset::parse(&Source::new(id, text), None).unwrap_or_else(|errors| panic!("{errors}"));
        let condition = preset.output.unavailable.as_deref().and_then(|source| Expression::compile(source).ok());
        (preset, condition)
    };
    texts.into_iter().map(read).collect()
});

pub(crate) fn hold(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let report = LiveReport::find(&text);
    if let Some(report) = &report {
        assert!(report.evidence.to_string().len() <= 64 * 1024, "the evidence is not bounded");
        assert!(report.status.as_str().len() <= 512 && !report.status.as_str().chars().any(char::is_control));
    }
    let last = format!("{text}\n{{\"status\": \"PASS\"}}\nbye");
    let found = LiveReport::find(&last).map(|report| report.status);
    assert_eq!(found, Some(LiveStatus::Pass), "the last report counts");
    for (preset, condition) in PRESETS.iter() {
        let told = executor::told(preset, condition.as_ref(), &text, &text);
        let answer = &told.answer;
        assert!(answer.parsed.is_some() != (answer.error.is_some() || answer.missing), "{answer:?}");
        assert!(told.usage.cost_usd.is_none_or(|cost| cost.is_finite() && cost >= 0.0), "{:?}", told.usage);
        for cause in answer.parsed.iter().flat_map(|answer| &answer.root_causes) {
            assert!(![&cause.kind, &cause.name].into_iter().any(|word| word.chars().any(char::is_control)));
        }
    }
}
