//! Runs a matrix with everything that the program itself would use, on clusters with bad connections.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use certify::{Differences, Ownership, compare};
use engine::{Cancel, Journals, Listener, Plugins, RunOptions, RunRequest, Setting, run_on};
use gate::Grants;
use matrix::{Known, Matrix};
use model::{CaseFile, Event, RunDocument};
use plugin::{Host, HostConfig, Limits};
use store::Store;
use yaml::Source;

use crate::cluster::{Backstage, BadConnections};
use crate::fault::Faults;

/// `harness-cli` of the same build as this test: test programs lie in `<target>/release/deps`.
fn harness_cli() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let program = own.ancestors().nth(2).unwrap().join("harness-cli");
    let build = "cargo build --release --workspace --bin harness-cli";
    assert!(program.exists(), "{} is not there; build it first: {build}", program.display());
    program
}

/// What is run.
pub(crate) struct Play<'a> {
    pub(crate) failures: &'a [&'a str],
    pub(crate) agent: &'a str,
    pub(crate) objective: &'a str,
    /// For the cluster of each case, by number.
    pub(crate) faults: Box<dyn Fn(usize) -> Arc<dyn Faults> + Send + Sync>,
    pub(crate) listener: Option<Box<dyn Listener>>,
}

/// What came of it.
pub(crate) struct Played {
    pub(crate) document: RunDocument,
    pub(crate) clusters: Vec<Arc<Backstage>>,
    pub(crate) took: Duration,
}

impl Played {
    /// Outcome, class and message of each case.
    pub(crate) fn outcomes(&self) -> Vec<String> {
        let of = |case: &CaseFile| {
            let class = case.class.map(|class| class.as_str()).unwrap_or_default();
            format!("{} {class}: {}", case.outcome.as_str(), case.message)
        };
        self.document.cases.iter().map(of).collect()
    }

    /// The cluster of a case holds what it held before it.
    pub(crate) async fn assert_clean(&self, number: usize) {
        let cluster = &self.clusters[number];
        let ownership = Ownership { namespace: "-", label: "-", touched: &[] };
        let differences = compare(&cluster.client(), &cluster.baseline, &ownership).await.unwrap();
        let faults = cluster.faults();
        assert_eq!(differences, Differences::default(), "{:?} after {faults:#?}", self.outcomes());
        let leaks = &self.document.cases[number].leaks;
        assert!(leaks.is_empty(), "{leaks:?} after {faults:#?}");
    }
}

struct Heard(Arc<Mutex<Vec<Event>>>);

impl Listener for Heard {
    fn event(&mut self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// Runs it.
pub(crate) async fn play(play: Play<'_>) -> Played {
    let folder = tempfile::tempdir().unwrap();
    let library = Arc::new(catalog::Library::load(&[], builtin::failures()));
    let agents = Arc::new(catalog::Agents::load(&[], builtin::agents()));
    let text = format!(
        "name: faults\nclusters: [{{id: c, provisioner: embedded}}]\nfailures: [{}]\nagents: [{}]\nobjective: {}\n",
        play.failures.join(", "),
        play.agent,
        play.objective
    );
    let known = Known {
        failures: library.ids(),
        agents: agents.ids(),
        provisioners: vec!["embedded".into()],
        ..Known::default()
    };
    let matrix = Matrix::parse(&Source::new("faults.yaml", text.clone()), &known).unwrap();
    let host = Host::new(HostConfig { cache_dir: Some(cache()), limits: Limits::default() }).unwrap();
    let setting = Setting {
        library,
        agents,
        plugins: Plugins { host, steps: builtin::steps(), shim: builtin::shim() },
        grants: Arc::new(Grants::default()),
        journals: Journals::of(folder.path()),
        hidden: Vec::new(),
        harness_exe: harness_cli(),
    };
    let store = Store::open(folder.path()).unwrap();
    let options =
        RunOptions { seed: Some(11), timeout_per_test: Some(Duration::from_secs(90)), ..RunOptions::default() };
    let request = RunRequest { matrix, matrix_bytes: text.into_bytes(), setting, store, options };
    let connections = Arc::new(BadConnections { faults: play.faults, made: Mutex::default() });
    let heard = Arc::default();
    let mut listeners: Vec<Box<dyn Listener>> = vec![Box::new(Heard(Arc::clone(&heard)))];
    listeners.extend(play.listener);
    let (_canceller, cancel) = Cancel::new();
    let found = Arc::clone(&connections);
    let started = Instant::now();
    let document = run_on(request, &move |_| Ok(found.clone()), listeners, cancel).await.unwrap();
    let clusters = connections.made.lock().unwrap().clone();
    Played { document, clusters, took: started.elapsed() }
}

/// Compiled components are kept with the test, as the program keeps them.
fn cache() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("faults-cache")
}
