//! One writer at full speed: most writes change a pod, some move it to another label, some remove one or make a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use crate::Plan;
use crate::fill::{Name, SHARDS, STEP, collection, name, pod};
use crate::ledger::{Ledger, Wrote};
use crate::requests::Requests;

/// What came of it.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) log: Vec<Wrote>,
    pub(crate) times: Vec<Duration>,
    /// The pods that are there now.
    pub(crate) left: BTreeSet<Name>,
}

/// Goes through the pods in leaps, so that neighbours in time are none in the store.
struct Leaps(usize);

impl Leaps {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below.max(1)
    }
}

/// Pods from this number on are never removed: lists that are made meanwhile must show them all.
pub(crate) fn first_that_stays(plan: Plan) -> usize {
    plan.pods / 5
}

pub(crate) async fn write(requests: &Requests, plan: Plan, ledger: &Ledger) -> Result<Written, String> {
    let mut pods: BTreeMap<usize, usize> = (0..plan.pods).map(|number| (number, number % SHARDS)).collect();
    let (mut log, mut times) = (Vec::with_capacity(plan.writes), Vec::with_capacity(plan.writes));
    let mut leaps = Leaps(plan.pods);
    let (mut removed, mut made) = (0, plan.pods);
    for step in 1..=plan.writes {
        let (number, is) = match step % 10 {
            0 if removed < first_that_stays(plan) => {
                removed += 1;
                (removed - 1, None)
            }
            5 => {
                made += 1;
                (made - 1, Some(leaps.next(SHARDS)))
            }
            turn => {
                let number = removed + leaps.next(made - removed);
                let stays = pods.get(&number).copied();
                (number, if turn % 3 == 0 { Some(leaps.next(SHARDS)) } else { stays })
            }
        };
        let was = pods.get(&number).copied();
        let begun = ledger.begin(step);
        one(requests, plan, number, (was, is), step).await?;
        times.push(begun.elapsed());
        match is {
            Some(shard) => pods.insert(number, shard),
            None => pods.remove(&number),
        };
        log.push(Wrote { name: name(plan, number), was, is });
    }
    Ok(Written { log, times, left: pods.keys().map(|number| name(plan, *number)).collect() })
}

async fn one(
    requests: &Requests,
    plan: Plan,
    number: usize,
    (was, is): (Option<usize>, Option<usize>),
    step: usize,
) -> Result<(), String> {
    let (namespace, name) = name(plan, number);
    let (collection, object) = (collection(&namespace), format!("{}/{name}", collection(&namespace)));
    let answer = match (was, is) {
        (None, Some(shard)) => requests.send("POST", &collection, Some(&pod(&name, shard, step))).await,
        (Some(_), Some(shard)) => {
            let patch = json!({"metadata": {
                "labels": {"shard": shard.to_string()}, "annotations": {STEP: step.to_string()},
            }});
            requests.send("PATCH", &object, Some(&patch)).await
        }
        (_, None) => requests.send("DELETE", &object, None).await,
    };
    answer.map(drop)
}
