//! Files that people and strangers write: every error has a place in the file, and what is read is read again the same from
//! its canonical form.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use catalog::{AgentPreset, Metadata};
use gate::Grants;
use matrix::{Known, Matrix};
use yaml::{Diagnostics, Source};

/// Errors with the source around each are drawn for so many only: drawing takes longer than finding.
const DRAWN: usize = 3;

pub(crate) fn metadata(bytes: &[u8]) {
    let Some(source) = source("metadata.yaml", bytes) else { return };
    match Metadata::parse(&source, None) {
        Ok(read) => {
            selectors(&read);
            match Metadata::from_json("canonical", &read.to_json()) {
                Ok(again) => assert_eq!(again, read),
                Err(errors) => panic!("the canonical form is refused: {errors}\n{}", read.to_json()),
            }
        }
        Err(errors) => have_places(&source, &errors),
    }
}

/// What is taken for a selector here is one for the server too, once its parameters are filled in.
fn selectors(metadata: &Metadata) {
    let symptoms = metadata.symptoms.iter().map(|symptom| &symptom.select);
    for select in symptoms.chain(metadata.health.iter().map(|health| &health.select)) {
        if let Some(selector) = select.label_selector_query().filter(|selector| !selector.contains("$(")) {
            let read = embedded::select_labels(&selector, &[]);
            assert!(read.is_ok(), "{selector}: {read:?}");
        }
    }
}

pub(crate) fn matrices(bytes: &[u8]) {
    let Some(source) = source("matrix.yaml", bytes) else { return };
    match Matrix::parse(&source, &KNOWN) {
        Ok(read) => {
            all_in_place(&source, &read.warnings);
            cases(&read);
        }
        Err(errors) => have_places(&source, &errors),
    }
    match AgentPreset::parse(&source, None) {
        Ok(read) => assert!(!read.to_json().is_null(), "a preset that cannot be shown"),
        Err(errors) => have_places(&source, &errors),
    }
    if let Err(errors) = Grants::parse(&source) {
        have_places(&source, &errors);
    }
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Known {
        failures: words(&["crashloopbackoff", "oom-killed", "image-pull-error", "no-fault"]),
        agents: words(&["triage", "idle", "claude", "mine"]),
        provisioners: words(&["embedded", "stub", "kind"]),
        access: words(&["read-case", "edit-case", "edit-cluster"]),
        ..Known::default()
    }
});

fn source(name: &str, bytes: &[u8]) -> Option<Source> {
    match Source::from_bytes(name, bytes) {
        Ok(source) => Some(source),
        Err(errors) => {
            assert!(errors.iter().all(|error| error.span.is_some()), "no place: {errors}");
            None
        }
    }
}

fn cases(matrix: &Matrix) {
    let some: Vec<_> = matrix.cases().take(200).map(|case| case.id.to_string()).collect();
    let unique: BTreeSet<&String> = some.iter().collect();
    assert_eq!(unique.len(), some.len(), "two cases of one id: {some:?}");
    let counted = matrix.case_count();
    assert!(if some.len() < 200 { counted == some.len() as u64 } else { counted >= 200 }, "{counted} are counted");
}

fn have_places(source: &Source, errors: &Diagnostics) {
    assert!(!errors.is_empty(), "refused without a reason");
    all_in_place(source, errors);
    let drawn = Diagnostics(errors.iter().take(DRAWN).cloned().collect()).pretty(false);
    assert!(drawn.lines().count() > drawn.is_empty().into(), "nothing is drawn");
}

fn all_in_place(source: &Source, errors: &Diagnostics) {
    let lines = source.text.split('\n').count();
    for error in errors {
        let Some(span) = error.span.clone() else { panic!("no place: {error}") };
        assert!(source.text.get(span.clone()).is_some(), "{span:?} is not in the file: {error}");
        let Some((line, column)) = error.location() else { panic!("no place: {error}") };
        let width = source.text.split('\n').nth(line - 1).map_or(0, |text| text.chars().count());
        assert!(line <= lines && column <= width + 1, "{line}:{column} is not in the file: {error}");
        assert!(!error.message.is_empty());
    }
}
