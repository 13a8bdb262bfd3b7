//! Random cases: several parties and outsiders write to the same objects in any order, the last writes of parties may be
//! lost, the undo may be ended anywhere. Held against a model of what everyone is promised.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::rig::*;

const FINALIZER: &str = "example.com/case";
/// Fit for ConfigMaps and Secrets alike.
const VALUES: [&str; 3] = ["dmFsdWUtMQ==", "dmFsdWUtMg==", "dmFsdWUtMw=="];
/// Collections and names of the objects that everyone writes to. The namespace of the last may not be there.
const OBJECTS: [(&str, &str); 5] = [
    (MAPS, "there"),
    (MAPS, "absent"),
    ("/api/v1/namespaces/a/secrets", "there"),
    ("/api/v1/namespaces/a/secrets", "absent"),
    (LATER, "absent"),
];
const LATER: &str = "/api/v1/namespaces/b/configmaps";
const IN_LATER: usize = 4;

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Create(usize),
    Change(usize),
    Delete,
    /// Puts a finalizer on; parties only.
    Hold,
    /// Takes the finalizer off.
    Release,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    To {
        object: usize,
        deed: Deed,
        outsider: bool,
    },
    Namespace {
        outsider: bool,
    },
    /// With a name that the server makes up.
    Generate {
        outsider: bool,
    },
}

#[derive(Clone, Debug)]
struct Case {
    steps: Vec<Step>,
    /// Writes of parties whose answer is lost, each the last of a party to its object: what, and whether it arrives.
    lost: Vec<Option<(Deed, bool)>>,
    /// What outsiders do afterwards.
    since: Vec<Step>,
    /// The write of the undo that is its last, and how.
    cut: Option<(usize, Cut)>,
}

fn deed(outsider: bool) -> impl Strategy<Value = Deed> {
    let hold = if outsider { Deed::Release } else { Deed::Hold };
    prop_oneof![
        2 => (0..VALUES.len()).prop_map(Deed::Create),
        3 => (0..VALUES.len()).prop_map(Deed::Change),
        3 => Just(Deed::Delete),
        1 => Just(hold),
        1 => Just(Deed::Release),
    ]
}

fn step(outsider: bool) -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..OBJECTS.len(), deed(outsider)).prop_map(move |(object, deed)| Step::To { object, deed, outsider }),
        1 => Just(Step::Namespace { outsider }),
        1 => Just(Step::Generate { outsider }),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let lost = prop_oneof![
        (0..VALUES.len()).prop_map(Deed::Create),
        (0..VALUES.len()).prop_map(Deed::Change),
        Just(Deed::Delete),
    ];
    let lost = prop_oneof![3 => Just(None), 1 => (lost, any::<bool>()).prop_map(Some)];
    let cut = (0..8_usize, prop_oneof![Just(Cut::Before), Just(Cut::After)]);
    (
        prop::collection::vec(prop_oneof![2 => step(false).boxed(), 1 => step(true).boxed()], 1..14),
        prop::collection::vec(lost, OBJECTS.len()),
        prop::collection::vec(step(true), 0..4),
        prop::option::of(cut),
    )
        .prop_map(|(steps, lost, since, cut)| Case { steps, lost, since, cut })
}

/// An object of the model. `id` is its uid, `version` its resourceVersion.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Thing {
    id: usize,
    version: usize,
    value: usize,
    held: bool,
    going: bool,
    /// Made by a party.
    ours: bool,
}

impl Thing {
    fn looks(&self) -> (usize, bool) {
        (self.value, self.held)
    }
}

/// What parties know of an object.
#[derive(Clone, Copy, Debug)]
struct Touched {
    original: Option<Thing>,
    last: Option<Thing>,
    /// The answer to the last write was lost, and reading did not tell.
    unknown: bool,
}

#[derive(Clone, Copy, Debug)]
struct Lost {
    deed: Deed,
    before: Option<Thing>,
    /// What it made.
    made: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct Cell {
    now: Option<Thing>,
    touched: Option<Touched>,
    lost: Option<Lost>,
}

/// What is promised of an object.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Promise {
    /// Value, held, going.
    object: Option<(usize, bool, bool)>,
    drifted: bool,
}

impl Cell {
    /// As the API server does it; whether it took effect or changed nothing.
    fn apply(&mut self, deed: Deed, ours: bool, next: &mut usize) -> bool {
        *next += 1;
        let Some(thing) = &mut self.now else {
            let Deed::Create(value) = deed else { return false };
            self.now = Some(Thing { id: *next, version: *next, value, held: false, going: false, ours });
            return true;
        };
        let before = *thing;
        match deed {
            Deed::Create(_) => return false,
            Deed::Change(value) => thing.value = value,
            Deed::Hold => thing.held = true,
            Deed::Release => thing.held = false,
            Deed::Delete => thing.going = true,
        }
        if *thing != before {
            thing.version = *next;
        }
        self.now = self.now.filter(|thing| !thing.going || thing.held);
        true
    }

    fn touch(&mut self, deed: Deed, next: &mut usize) -> bool {
        let before = self.now;
        let done = self.apply(deed, true, next);
        if done {
            let original = self.touched.map_or(before, |touched| touched.original);
            self.touched = Some(Touched { original, last: self.now, unknown: false });
        }
        done
    }

    /// What reading tells of the lost write.
    fn settle(&mut self) {
        let Some(Lost { deed, before, made }) = self.lost else { return };
        let same = self.now.filter(|now| before.is_some_and(|before| before.id == now.id));
        let touched = match deed {
            Deed::Create(_) => self.now.filter(|now| Some(now.id) == made).map(|now| (Some(now), false)),
            Deed::Delete => match same {
                None => Some((None, false)),
                Some(now) => (now.going && before.is_some_and(|before| !before.going)).then_some((Some(now), false)),
            },
            _ => {
                let untouched = same.is_some_and(|now| before.is_some_and(|before| before.version == now.version));
                (!untouched).then_some((None, true))
            }
        };
        if let Some((last, unknown)) = touched {
            let original = self.touched.map_or(before, |touched| touched.original);
            self.touched = Some(Touched { original, last, unknown });
        }
    }

    fn promise(&self) -> Promise {
        let stays = |drifted| Promise { object: self.now.map(|now| (now.value, now.held, now.going)), drifted };
        let Some(Touched { original, last, unknown }) = self.touched else { return stays(false) };
        let Some(original) = original else {
            return match self.now {
                Some(now) if !now.ours && !now.going => stays(true),
                _ => Promise { object: None, drifted: false },
            };
        };
        let back = Promise { object: Some((original.value, original.held, false)), drifted: false };
        let Some(now) = self.now.filter(|now| !now.going) else { return back };
        if now.looks() == original.looks() {
            return back;
        }
        let known = now.ours || now.id == original.id || last.is_some_and(|last| last.id == now.id);
        // Value and finalizer are looked at one by one: each is as a party left it, or as it was.
        let as_left = unknown
            || last.is_some_and(|last| {
                (now.value == last.value || now.value == original.value)
                    && (now.held == last.held || now.held == original.held)
            });
        if known && as_left { back } else { stays(true) }
    }
}

/// The cluster, and what is expected of it.
struct Play {
    rig: Rig,
    cells: Vec<Cell>,
    /// The namespace that comes later: whether a party made it.
    later: Option<bool>,
    /// What outsiders made with generated names.
    generated: Vec<String>,
    next: usize,
}

impl Play {
    async fn begin() -> Self {
        let rig = Rig::still();
        rig.given(NAMESPACES, json!({"metadata": {"name": "a"}})).await;
        let mut cells = vec![Cell::default(); OBJECTS.len()];
        let mut next = 0;
        for (cell, (collection, name)) in cells.iter_mut().zip(OBJECTS) {
            if name == "there" {
                rig.given(collection, body(name, 0)).await;
                cell.apply(Deed::Create(0), false, &mut next);
            }
        }
        Self { rig, cells, later: None, generated: Vec::new(), next }
    }

    async fn write(&self, outsider: bool, method: &str, path: &str, body: Value) -> (bool, Value) {
        let (status, answer) = match outsider {
            true => self.rig.call(method, path, &body).await,
            false => self.rig.touch(method, path, body).await,
        };
        (status < 300, answer)
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Namespace { outsider } => {
                let (done, _) = self.write(outsider, "POST", NAMESPACES, json!({"metadata": {"name": "b"}})).await;
                assert_eq!(done, self.later.is_none());
                self.later = self.later.or(Some(!outsider));
            }
            Step::Generate { outsider } => {
                let body = json!({"metadata": {"generateName": "made-"}, "data": {"v": VALUES[0]}});
                let (done, made) = self.write(outsider, "POST", MAPS, body).await;
                assert!(done, "{made}");
                if outsider {
                    self.generated.push(made["metadata"]["name"].as_str().unwrap().to_owned());
                }
            }
            Step::To { object, deed, outsider } => {
                let (method, path, body) = request(object, deed);
                let (done, answer) = self.write(outsider, method, &path, body).await;
                let expected = match (self.is_closed(object), outsider) {
                    (true, _) => false,
                    (false, true) => self.cells[object].apply(deed, false, &mut self.next),
                    (false, false) => self.cells[object].touch(deed, &mut self.next),
                };
                assert_eq!(done, expected, "{step:?}: {answer}");
            }
        }
    }

    fn is_closed(&self, object: usize) -> bool {
        object == IN_LATER && self.later.is_none()
    }

    /// A party's last write to an object, of which nobody hears again.
    async fn lose(&mut self, object: usize, deed: Deed, arrives: bool) {
        let cell = &mut self.cells[object];
        // What is refused changes nothing, heard of or not.
        if matches!(deed, Deed::Create(_)) == cell.now.is_some() || (object == IN_LATER && self.later.is_none()) {
            return;
        }
        let (method, path, body) = request(object, deed);
        let cut = if arrives { Cut::After } else { Cut::Before };
        self.rig.lose(method, &path, body, cut).await;
        let before = cell.now;
        let mut made = None;
        if arrives {
            assert!(cell.apply(deed, true, &mut self.next));
            made = cell.now.map(|now| now.id);
        }
        cell.lost = Some(Lost { deed, before, made });
    }

    fn promises(&mut self) -> Vec<Promise> {
        self.cells.iter_mut().for_each(Cell::settle);
        let mut promises: Vec<Promise> = self.cells.iter().map(Cell::promise).collect();
        if self.later == Some(true) {
            promises[IN_LATER] = Promise { object: None, drifted: false };
        }
        promises
    }

    /// Value, held and going of every object, by path.
    async fn seen(&self) -> BTreeMap<String, (usize, bool, bool)> {
        let mut all = BTreeMap::new();
        for collection in [MAPS, "/api/v1/namespaces/a/secrets", LATER] {
            let list = self.rig.get(collection).await.unwrap_or_default();
            for item in list["items"].as_array().into_iter().flatten() {
                let Some(value) = VALUES.iter().position(|value| item["data"]["v"] == *value) else { continue };
                let held = item["metadata"]["finalizers"] == json!([FINALIZER]);
                let going = item["metadata"].get("deletionTimestamp").is_some();
                all.insert(
                    format!("{collection}/{}", item["metadata"]["name"].as_str().unwrap()),
                    (value, held, going),
                );
            }
        }
        all
    }

    /// Undoes, and holds what is there then against the promises.
    async fn undo(&self, promises: &[Promise], when: &str) {
        let report = self.rig.undo().await;
        let paths = OBJECTS.map(|(collection, name)| format!("{collection}/{name}"));
        let mut expected: BTreeMap<String, _> =
            self.generated.iter().map(|name| (format!("{MAPS}/{name}"), (0, false, false))).collect();
        expected
            .extend(paths.iter().cloned().zip(promises).filter_map(|(path, promise)| Some((path, promise.object?))));
        assert_eq!(self.seen().await, expected, "{when}: {report:#?}");
        let mut drifted: Vec<String> = report.drifted.iter().map(|difference| difference.key.path()).collect();
        drifted.sort();
        let mut told: Vec<String> =
            paths.into_iter().zip(promises).filter(|(_, promise)| promise.drifted).map(|(path, _)| path).collect();
        told.sort();
        assert_eq!(drifted, told, "{when}");
        assert!(report.failed.is_empty(), "{when}: {report:#?}");
        let later = self.rig.get("/api/v1/namespaces/b").await.is_some();
        assert_eq!(later, self.later == Some(false), "{when}");
        let text = serde_json::to_string(&report).unwrap();
        assert!(!VALUES.iter().any(|value| text.contains(value)), "{text}");
    }
}

fn body(name: &str, value: usize) -> Value {
    json!({"metadata": {"name": name}, "data": {"v": VALUES[value]}})
}

fn request(object: usize, deed: Deed) -> (&'static str, String, Value) {
    let (collection, name) = OBJECTS[object];
    let path = format!("{collection}/{name}");
    match deed {
        Deed::Create(value) => ("POST", collection.to_owned(), body(name, value)),
        Deed::Change(value) => ("PATCH", path, json!({"data": {"v": VALUES[value]}})),
        Deed::Delete => ("DELETE", path, Value::Null),
        Deed::Hold => ("PATCH", path, json!({"metadata": {"finalizers": [FINALIZER]}})),
        Deed::Release => ("PATCH", path, json!({"metadata": {"finalizers": null}})),
    }
}

async fn play(case: Case) {
    let mut play = Play::begin().await;
    for step in case.steps {
        play.step(step).await;
    }
    for (object, lost) in case.lost.into_iter().enumerate() {
        if let Some((deed, arrives)) = lost {
            play.lose(object, deed, arrives).await;
        }
    }
    for step in case.since {
        play.step(step).await;
    }
    let promises = play.promises();
    if let Some((n, cut)) = case.cut {
        play.rig.cut(n, cut);
        let clock = play.rig.clock();
        tokio::select! {
            () = play.rig.ended.notified() => {}
            report = play.rig.gate.undo(&clock, std::time::Duration::from_secs(120)) => { report.unwrap(); }
        }
    }
    play.undo(&promises, "after the undo").await;
    let written = play.rig.mutations();
    play.undo(&promises, "after another").await;
    assert_eq!(play.rig.mutations(), written, "another only reads");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_object_is_as_before_its_first_touch_unless_an_outsider_had_the_last_word(case in case()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(case));
    }
}
