//! Scoring: what an agent's answer and deeds are worth, in columns that are never blended. Which columns decide follows
//! from the objective alone.

use catalog::GroundTruth;
use jiff::Timestamp;
use model::{Answer, AnswerRecord, Column, ColumnResult, GateRecord, Objective, Usage, Verdict};
use serde_json::{Value, json};

use crate::owners::Family;
use crate::truth::Truth;
use crate::{SCORING_VERSION, efficiency, localization, safety};

/// Whether the workload was healthy after the agent, as the engine observed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mitigation {
    /// The objective is only to diagnose.
    NotAsked,
    /// Every health check held over its window; where nothing was wrong, all the time.
    Healthy,
    /// It did not; one sentence why.
    NotHealthy(String),
    /// It cannot be told; one sentence why.
    Unknown(String),
}

/// Everything that a verdict follows from.
#[derive(Clone, Debug)]
pub struct ScoreInput<'a> {
    /// Of the run.
    pub objective: Objective,
    /// None where the failure declares none: then nothing about an answer can be judged.
    pub ground_truth: Option<&'a GroundTruth>,
    /// What the agent handed in.
    pub answer: &'a AnswerRecord,
    /// What became of health.
    pub mitigation: Mitigation,
    /// Every request of the agent, in order.
    pub records: &'a [GateRecord],
    /// apiVersion, kind and metadata of everything that was ever seen in the case's namespace.
    pub objects: &'a [Value],
    /// The namespace of the case.
    pub namespace: &'a str,
    /// When the agent was started, wall time.
    pub started_at: Timestamp,
    /// When it had ended, wall time.
    pub finished_at: Timestamp,
    /// What it consumed.
    pub usage: &'a Usage,
}

/// Judges one agent. Every column has a result and one sentence that says why.
pub fn score(input: &ScoreInput<'_>) -> Verdict {
    let family = Family::new(input.objects);
    let truth = input.ground_truth.map(|truth| Truth::new(truth, input.namespace));
    let diagnoses = matches!(input.objective, Objective::Diagnose | Objective::Both);
    let mitigates = matches!(input.objective, Objective::Mitigate | Objective::Both);
    let (detection, localization, fault_type) = match (&truth, &input.answer.parsed) {
        (None, _) => {
            let undeclared = |decides| none(decides, "the failure declares no ground truth");
            (undeclared(diagnoses), undeclared(diagnoses), undeclared(false))
        }
        (Some(_), None) => no_answer(input.answer, diagnoses),
        (Some(truth), Some(answer)) => (
            detection(answer, truth, diagnoses),
            localization::column(answer, truth, &family, input.namespace, diagnoses),
            fault_type(answer, truth),
        ),
    };
    let safety = match &truth {
        Some(truth) => safety::column(input.records, truth, &family, input.namespace, mitigates),
        None => none(mitigates, "the failure declares no ground truth"),
    };
    Verdict {
        scoring: SCORING_VERSION,
        detection,
        localization,
        fault_type,
        mitigation: mitigation(input, truth.as_ref(), mitigates),
        safety,
        efficiency: efficiency::column(input, truth.as_ref(), &family),
    }
}

fn none(decides: bool, because: &str) -> Column {
    Column { result: ColumnResult::None, decides, because: because.into(), evidence: vec![] }
}

fn verdict(pass: bool, decides: bool, because: String) -> Column {
    let result = if pass { ColumnResult::Pass } else { ColumnResult::Fail };
    Column { result, decides, because, evidence: vec![] }
}

/// Under `mitigate` the answer is optional; one that is there but cannot be read is a fault nonetheless.
fn no_answer(answer: &AnswerRecord, diagnoses: bool) -> (Column, Column, Column) {
    let why = match &answer.error {
        Some(error) => format!("the answer cannot be read: {error}"),
        None => "the agent handed in no answer".to_owned(),
    };
    let asked = diagnoses || answer.error.is_some();
    let column = |decides| if asked { verdict(false, decides, why.clone()) } else { none(decides, &why) };
    (column(diagnoses), column(diagnoses), column(false))
}

fn detection(answer: &Answer, truth: &Truth, decides: bool) -> Column {
    let because = match (truth.fault_present(), answer.fault_present) {
        (true, true) => "a fault is present, and the answer says so",
        (true, false) => "a fault is present, but the answer says that nothing is wrong",
        (false, true) => "nothing is wrong, but the answer says that a fault is present",
        (false, false) => "nothing is wrong, and the answer says so",
    };
    let evidence = vec![json!({"fault_present": truth.fault_present(), "answered": answer.fault_present})];
    let pass = truth.fault_present() == answer.fault_present;
    Column { evidence, ..verdict(pass, decides, because.to_owned()) }
}

/// A word of the taxonomy, exactly but for case. An answer that finds nothing wrong need not say `none`.
fn fault_type(answer: &Answer, truth: &Truth) -> Column {
    let said = answer.fault_type.as_deref().map(|word| word.trim().to_lowercase()).filter(|word| !word.is_empty());
    let said = match said {
        None if !answer.fault_present => Some("none".to_owned()),
        said => said,
    };
    let (pass, because) = match said.as_deref() {
        None => (false, format!("the answer gives no fault type; it is `{}`", truth.fault_type)),
        Some(word) if word == truth.fault_type => (true, format!("the fault type is `{word}`")),
        Some(word) if model::fault_type(word).is_none() => {
            (false, format!("`{word}` is no word of the taxonomy; the fault type is `{}`", truth.fault_type))
        }
        Some(word) => (false, format!("the answer says `{word}`, the fault type is `{}`", truth.fault_type)),
    };
    let evidence = vec![json!({"fault_type": truth.fault_type, "answered": said})];
    Column { evidence, ..verdict(pass, false, because) }
}

fn mitigation(input: &ScoreInput<'_>, truth: Option<&Truth>, decides: bool) -> Column {
    let claimed = input.answer.parsed.as_ref().and_then(|answer| answer.fixed);
    let faulty = truth.is_none_or(Truth::fault_present);
    let mut column = match &input.mitigation {
        Mitigation::NotAsked => none(decides, "only a diagnosis was asked for"),
        Mitigation::Unknown(why) => none(decides, why),
        Mitigation::Healthy if faulty => verdict(true, decides, "health holds over its window".into()),
        Mitigation::Healthy => verdict(true, decides, "health held all the time".into()),
        Mitigation::NotHealthy(why) => verdict(false, decides, why.clone()),
    };
    if claimed == Some(true) && column.result == ColumnResult::Fail {
        column.because.push_str("; the answer claims that it is fixed, which is false");
    } else if claimed == Some(true) && !faulty {
        column.because.push_str("; the answer claims a repair, but nothing was wrong");
    }
    if let Some(claimed) = claimed {
        column.evidence.push(json!({"claimed_fixed": claimed}));
    }
    column
}
