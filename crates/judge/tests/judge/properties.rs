//! What holds for any input.

use judge::Seen;
use model::NamedObject;
use proptest::prelude::*;
use serde_json::json;

use crate::build::{DEPLOYMENTS, PODS, armed, at_millis, deployment, deployment_object, pod};
use crate::scoring::{Case, answering, named};

#[derive(Clone, Debug)]
enum Happens {
    Pod(u8, bool),
    PodGone(u8),
    Available(i64),
    DeploymentGone,
    Synced,
}

fn happenings() -> impl Strategy<Value = Vec<(u16, Happens)>> {
    let one = prop_oneof![
        3 => (0u8..3, any::<bool>()).prop_map(|(pod, oom)| Happens::Pod(pod, oom)),
        1 => (0u8..3).prop_map(Happens::PodGone),
        4 => (0i64..4).prop_map(Happens::Available),
        1 => Just(Happens::DeploymentGone),
        1 => Just(Happens::Synced),
    ];
    prop::collection::vec((0u16..30_000, one), 0..40)
}

fn seen(happens: &Happens) -> (usize, Seen) {
    match happens {
        Happens::Pod(number, oom) => (PODS, pod(&format!("p{number}"), if *oom { "OOMKilled" } else { "" })),
        Happens::PodGone(number) => {
            (PODS, Seen::Remove(json!({"metadata": {"name": format!("p{number}"), "namespace": "ns"}})))
        }
        Happens::Available(available) => (DEPLOYMENTS, deployment(*available)),
        Happens::DeploymentGone => (DEPLOYMENTS, Seen::Remove(deployment_object(0))),
        Happens::Synced => (DEPLOYMENTS, Seen::Synced),
    }
}

fn entries() -> impl Strategy<Value = Vec<NamedObject>> {
    let kinds =
        prop::sample::select(vec!["Deployment", "deploy", "Pod", "po", "rs", "Service", "sts", "Gizmo", "gizmo"]);
    let names = prop::sample::select(vec!["web", "web-1", "web-1-a", "db", "db-0", "db-1", "api-0", "x"]);
    prop::collection::vec((kinds, names).prop_map(|(kind, name)| named(kind, name)), 0..6)
}

proptest! {
    /// The whole state machine against a plain model: health is healthy exactly when the Deployment has been there with
    /// enough replicas for the last 60 s without a break, and a symptom that was ever seen stays seen.
    #[test]
    fn windows_and_latches_agree_with_a_plain_model(happenings in happenings()) {
        const WINDOW: i64 = 60_000;
        let mut observer = armed();
        let mut now = 0_i64;
        let mut holding_since = Some(0);
        let mut latched = None;
        for (after, happens) in happenings {
            let before = now;
            now += i64::from(after);
            // Any moment since the last event: no window completes early, and none late.
            for moment in [before, i64::midpoint(before, now), now] {
                let expected = holding_since.is_some_and(|since| moment >= since + WINDOW);
                prop_assert_eq!(observer.healthy(at_millis(moment)), expected);
            }
            let (select, change) = seen(&happens);
            observer.observe(at_millis(now), select, change);
            match happens {
                Happens::Available(enough) if enough >= 2 => holding_since = holding_since.or(Some(now)),
                Happens::Available(_) | Happens::DeploymentGone => holding_since = None,
                Happens::Pod(_, true) => latched = latched.or(Some(at_millis(now))),
                _ => {}
            }
            prop_assert_eq!(observer.holds_now(), holding_since.is_some());
            prop_assert_eq!(observer.next_deadline(), holding_since.map(|since| at_millis(since + WINDOW)));
            prop_assert_eq!(observer.symptoms()[0].at, latched);
            prop_assert_eq!(observer.all_seen(), latched.is_some());
        }
    }

    /// Being healthy needs the deadline to have come, and then nothing more.
    #[test]
    fn the_deadline_is_the_first_healthy_moment(happenings in happenings()) {
        let mut observer = armed();
        let mut now = 0;
        for (after, happens) in happenings {
            now += i64::from(after);
            let (select, change) = seen(&happens);
            observer.observe(at_millis(now), select, change);
        }
        if let Some(deadline) = observer.next_deadline() {
            prop_assert!(observer.healthy(deadline));
            let before = deadline - jiff::SignedDuration::from_millis(1);
            prop_assert!(!observer.healthy(before));
        }
    }

    #[test]
    fn the_order_of_entries_never_matters(entries in entries(), seed in any::<u64>()) {
        let mut shuffled = entries.clone();
        let length = shuffled.len().max(1);
        for i in 0..shuffled.len() {
            shuffled.swap(i, (seed as usize).wrapping_mul(31).wrapping_add(i * 7) % length);
        }
        let verdict = |entries| Case { answer: answering(true, entries), ..Case::default() }.verdict();
        prop_assert_eq!(verdict(entries), verdict(shuffled));
    }

    #[test]
    fn naming_an_object_twice_never_matters(entries in entries()) {
        let result = |entries| Case { answer: answering(true, entries), ..Case::default() }.verdict().localization.result;
        let doubled = [entries.clone(), entries.clone()].concat();
        prop_assert_eq!(result(entries), result(doubled));
    }

    #[test]
    fn naming_more_of_the_guilty_chain_never_hurts(entries in entries()) {
        let result = |entries| Case { answer: answering(true, entries), ..Case::default() }.verdict().localization.result;
        let mut more = entries.clone();
        more.push(named("Pod", "web-1-b"));
        if result(entries) == model::ColumnResult::Pass {
            prop_assert_eq!(result(more), model::ColumnResult::Pass);
        }
    }

    #[test]
    fn no_kind_or_name_panics(kind in "\\PC{0,30}", name in "\\PC{0,30}", namespace in proptest::option::of("\\PC{0,10}")) {
        let entry = NamedObject { kind, name, namespace };
        let _ = Case { answer: answering(true, vec![entry]), ..Case::default() }.verdict();
    }
}
