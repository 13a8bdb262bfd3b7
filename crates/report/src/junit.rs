//! `junit.xml`: a suite per cluster, a test case per case, for CI systems.

use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use jiff::Timestamp;
use model::{CaseFile, Class, Outcome, Status};
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use crate::groups::by_cluster;
use crate::rates::{cut_short, is_interrupted};
use crate::text::one_line;
use crate::{ReportError, View};

/// The run as JUnit XML. Failed and timed out by the agent's doing are failures, what could not be judged is an error;
/// skipped, interrupted and every control are skipped.
pub fn junit(view: View<'_>) -> Result<String, ReportError> {
    let run = view.run;
    let mut report = Report::new(run.matrix.as_str());
    if let Some(at) = time(run.started_at) {
        report.set_timestamp(at);
    }
    report.set_time(view.cases.iter().map(|case| Duration::from_millis(case.duration_ms)).sum());
    for group in by_cluster(view.cases) {
        let mut suite = TestSuite::new(group.title());
        suite.set_time(group.cases.iter().map(|case| Duration::from_millis(case.duration_ms)).sum());
        if let Some(at) = group.cases.iter().map(|case| case.started_at).min().and_then(time) {
            suite.set_timestamp(at);
        }
        suite.add_property(("run_id", run.run_id.as_str()));
        suite.add_property(("cluster", group.cluster.as_str()));
        suite.add_property(("cluster_kind", group.kind.as_str()));
        suite.add_property(("matrix_digest", run.matrix_digest.as_str()));
        say_cut_short(&mut suite, view);
        suite.add_test_cases(group.cases.iter().map(|case| test_case(&run.matrix, case)));
        report.add_test_suite(suite);
    }
    if view.cases.is_empty() && cut_short(run, view.cases).is_some() {
        // Without a suite the document could not tell an interrupted run from one that had nothing to do.
        let mut suite = TestSuite::new(run.matrix.as_str());
        say_cut_short(&mut suite, view);
        report.add_test_suite(suite);
    }
    report.to_string().map_err(|error| ReportError(error.to_string()))
}

fn say_cut_short(suite: &mut TestSuite, view: View<'_>) {
    let Some(how) = cut_short(view.run, view.cases) else { return };
    if is_interrupted(view.run, view.cases) {
        suite.add_property(("interrupted", "true"));
    }
    suite.add_property(("not_run", view.run.not_run.to_string().as_str()));
    suite.set_system_err(format!("{how}."));
}

fn test_case(matrix: &str, case: &CaseFile) -> TestCase {
    let mut test = TestCase::new(case.id.as_str(), status(case));
    test.set_classname(format!("{matrix}.{}.{}", case.cluster, case.failure));
    test.set_time(Duration::from_millis(case.duration_ms));
    if let Some(at) = time(case.started_at) {
        test.set_timestamp(at);
    }
    let witness = case.witness.as_ref().map_or("none", |witness| witness.kind.as_str());
    let properties = [
        ("outcome", case.outcome.as_str()),
        ("class", case.class.map_or("none", Class::as_str)),
        ("status", case.status.as_str()),
        ("cluster_kind", case.cluster_kind.as_str()),
        ("failure", case.failure.as_str()),
        ("agent", case.agent.as_str()),
        ("control", if case.control { "true" } else { "false" }),
        ("witness", witness),
        ("gated", if case.gated { "true" } else { "false" }),
    ];
    test.add_properties(properties.map(Property::from));
    test.add_property(("attempt", case.attempt.to_string().as_str()));
    for leak in &case.leaks {
        test.add_property(("leak", one_line(&format!("{}: {}", leak.what, leak.object)).as_str()));
    }
    test
}

fn status(case: &CaseFile) -> TestCaseStatus {
    let message = one_line(&case.message);
    if case.control {
        let mut status = TestCaseStatus::skipped();
        status.set_message(format!("control, never decides: {} {message}", case.outcome).trim_end());
        return status;
    }
    let mut status = match (case.outcome, case.status) {
        (Outcome::Passed, _) => return TestCaseStatus::success(),
        (Outcome::Skipped | Outcome::Interrupted, _) => TestCaseStatus::skipped(),
        (_, Status::Fail) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        _ => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let message = if message.is_empty() { case.outcome.as_str() } else { &message };
    if matches!(status, TestCaseStatus::NonSuccess { .. }) {
        status.set_type(case.class.map_or(case.outcome.to_string(), |class| format!("{}.{class}", case.outcome)));
    }
    status.set_message(message);
    status
}

fn time(at: Timestamp) -> Option<DateTime<FixedOffset>> {
    let nanoseconds = u32::try_from(at.subsec_nanosecond()).unwrap_or(0);
    DateTime::from_timestamp(at.as_second(), nanoseconds).map(|utc| utc.fixed_offset())
}
