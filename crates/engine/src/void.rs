//! Takes back the verdicts of cases whose failure a control has passed, in a run that goes on and in one that was killed.

use catalog::Failure;
use model::{Class, EventKind, Outcome, Rule, RunId};
use store::Store;

use crate::EngineError;
use crate::dispatcher::Dispatcher;
use crate::groups::Complete;

/// Where nothing is wrong, passing without work is right under `mitigate`, and says nothing.
pub(crate) async fn void(
    group: &Complete,
    failure: Option<&Failure>,
    run: &RunId,
    store: &Store,
    dispatcher: &Dispatcher,
) -> Result<(), EngineError> {
    let Some((control, cases)) = group.void() else { return Ok(()) };
    if failure.is_some_and(|failure| failure.metadata.ground_truth_is_none()) {
        return Ok(());
    }
    for id in cases {
        let mut case = store.case(run, id.as_str())?;
        case.outcome = Outcome::Invalid;
        case.class = Some(Class::Test);
        case.rule = Some(Rule::ControlPassed);
        case.status = case.outcome.status(case.class);
        case.message = format!("control `{control}` passed, so passing this failure proves nothing");
        let revised = EventKind::CaseRevised {
            outcome: case.outcome,
            class: case.class,
            status: case.status,
            message: case.message.clone(),
        };
        dispatcher.case(case).await?;
        dispatcher.event(Some(id), revised).await;
    }
    Ok(())
}
