//! The way back, for every scene whatever happened in it, in this process or another: stop, undo, certify.

use std::pin::pin;
use std::time::Duration;

use certify::{Ownership, certify_until};
use futures::future::{Either, select};
use gate::{ObjectKey, crash_point};
use model::{Class, Leak, Phase, PhaseResult, Rule};
use serde_json::{Value, json};

use crate::Cancel;
use crate::cancel::HOST_ONLY;
use crate::record::{End, Record};
use crate::scene::{PUT_BACK, Scene};

/// Cluster time for everything that was made to go.
const GONE: Duration = Duration::from_secs(180);
/// Cluster time for controllers to settle what the undo left them.
const SETTLED: Duration = Duration::from_secs(120);

/// What putting back came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct PutBack {
    /// `stop` did not succeed.
    pub(crate) stop: Option<End>,
    /// What people should know although it is no leak.
    pub(crate) remarks: Vec<String>,
    /// What is not as it was.
    pub(crate) leaks: Vec<Leak>,
}

/// Steps 7 and 8, told to the record of the case. What comes back is what is wrong with `stop`.
pub(crate) async fn put_back(record: &mut Record, scene: &mut Scene) -> Option<End> {
    let mut back = PutBack::default();
    let phase = record.begin(Phase::Stop).await;
    back.undo(scene).await;
    let (result, message) = match &back.stop {
        None => (PhaseResult::Ok, None),
        Some(end) => (PhaseResult::Failed, Some(end.message.clone())),
    };
    record.end(phase, result, message).await;
    let phase = record.begin(Phase::Certify).await;
    back.certify(scene).await;
    for remark in back.remarks {
        record.say(remark).await;
    }
    let leaked = back.leaks.first().map(|leak| format!("{} is {}", leak.object, leak.what));
    let result = if leaked.is_some() { PhaseResult::Failed } else { PhaseResult::Ok };
    record.leaks = back.leaks;
    record.end(phase, result, leaked).await;
    back.stop
}

impl PutBack {
    /// The same for a scene without a record.
    pub(crate) async fn of(scene: &mut Scene) -> Self {
        let mut back = Self::default();
        back.undo(scene).await;
        back.certify(scene).await;
        back
    }

    /// Calls `stop`, ends every way in, and undoes what the journal says.
    async fn undo(&mut self, scene: &mut Scene) {
        let named = |end: End| {
            let rule = if end.class == Some(Class::Test) { Some(Rule::StopFailed) } else { end.rule };
            End { rule, message: format!("`stop` of the failure did not succeed: {}", end.message), ..end }
        };
        let cancel = scene.cancel.clone();
        self.stop = match cancel.unless_abandoned(scene.stop()).await {
            Some(stopped) => stopped.err().map(named),
            None => Some(End::interrupted_at("`stop` of the failure was abandoned")),
        };
        crash_point("case.stopped");
        if let Some((_, endpoint)) = scene.script.take() {
            endpoint.shutdown().await;
        }
        let undo = async {
            scene.gate.settled().await;
            scene.gate.undo(&scene.clock, GONE).await
        };
        match bounded(&cancel, undo).await {
            Err(late) => self.stays(scene, late),
            Ok(Err(error)) => self.stays(scene, error.to_string()),
            Ok(Ok(report)) => {
                self.remarks.extend(report.drifted.iter().map(|it| {
                    format!("{} was changed by somebody else since the case touched it, and was left alone", it.key)
                }));
                let irreversible = report.irreversible.iter();
                self.remarks.extend(irreversible.map(|key| format!("{key} cannot be put back, as a grant allowed")));
                self.leaks.extend(report.failed.into_iter().map(|it| Leak {
                    object: it.key.to_string(),
                    what: "left_over".into(),
                    evidence: [Value::String(it.why)].into_iter().chain(it.evidence).collect(),
                }));
            }
        }
        crash_point("case.undone");
    }

    /// Compares with the baseline, and closes the journal when everything is back.
    async fn certify(&mut self, scene: &Scene) {
        if let Err(error) = self.compare(scene).await {
            self.stays(scene, format!("it could not be certified: {error}"));
        }
        crash_point("case.certified");
        if let Err(error) = scene.keeping.close(self.leaks.is_empty()).await {
            self.remarks.push(format!("the case stays in the journal: {error}"));
        }
    }

    async fn compare(&mut self, scene: &Scene) -> Result<(), String> {
        let Some(baseline) = &scene.baseline else { return Ok(()) };
        let journal = scene.keeping.journal();
        let entries = journal.entries().await.map_err(|error| error.to_string())?;
        let touched: Vec<ObjectKey> = entries.into_iter().map(|entry| entry.intent.key).collect();
        let ownership = Ownership { namespace: &scene.namespace, label: &scene.label, touched: &touched };
        let client = scene.gate.keeper();
        let compared = certify_until(&client, &scene.clock, SETTLED, baseline, &ownership);
        let differences = bounded(&scene.cancel, compared).await?.map_err(|error| error.to_string())?;
        let known = |leak: &Leak| self.leaks.iter().any(|other| other.object == leak.object);
        let new: Vec<Leak> = differences.leaks.into_iter().filter(|leak| !known(leak)).collect();
        self.leaks.extend(new);
        let unchecked = differences.unchecked.iter();
        self.remarks.extend(unchecked.map(|it| format!("{} was not compared: {}", it.kind, it.why)));
        let foreign = differences.foreign.iter();
        self.remarks.extend(foreign.map(|it| format!("{} is {}, which was not done by this case", it.object, it.what)));
        Ok(())
    }

    /// The whole case may still be there.
    fn stays(&mut self, scene: &Scene, why: String) {
        self.leaks.push(Leak {
            object: format!("v1 Namespace {}", scene.namespace),
            what: "left_over".into(),
            evidence: vec![json!(why)],
        });
    }
}

/// Bounds one step of the way back; more tightly from the moment at which somebody has lost patience.
async fn bounded<T>(cancel: &Cancel, work: impl Future<Output = T>) -> Result<T, String> {
    let late = |most: Duration| format!("the cluster did not answer within {} s", most.as_secs());
    let hurried = async {
        cancel.abandoned().await;
        tokio::time::sleep(HOST_ONLY).await;
    };
    match select(pin!(tokio::time::timeout(PUT_BACK, work)), pin!(hurried)).await {
        Either::Left((done, _)) => done.map_err(|_| late(PUT_BACK)),
        Either::Right(_) => Err(late(HOST_ONLY)),
    }
}
