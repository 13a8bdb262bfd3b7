//! Runs a matrix with everything that the program itself would use, on clusters that a test chooses.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use certify::{Differences, Ownership, compare};
use engine::{Cancel, FindProvisioner, Journals, Listener, Plugins, RunOptions, RunRequest, Setting, run_on};
use gate::Grants;
use matrix::{Known, Matrix};
use model::{CaseFile, Event, RunDocument, RunFile};
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
        outcomes(&self.document)
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

/// A run through the engine.
pub(crate) struct Production {
    /// The matrix. Its clusters are those of `clusters`, whatever provisioner they name.
    pub(crate) matrix: String,
    pub(crate) options: RunOptions,
    /// Presets besides the built-in ones, by id, without it.
    pub(crate) agents: Vec<(&'static str, String)>,
    /// By the id of a failure, its `metadata.yaml` without it, and an `induce.sh` or nothing; they break [`WORKLOAD`].
    pub(crate) failures: Vec<(&'static str, String, &'static str)>,
    pub(crate) clusters: Box<FindProvisioner>,
    pub(crate) listeners: Vec<Box<dyn Listener>>,
    pub(crate) cancel: Cancel,
}

impl Production {
    /// On fresh embedded clusters, uninterrupted.
    pub(crate) fn of(matrix: impl Into<String>) -> Self {
        Self {
            matrix: matrix.into(),
            options: RunOptions { seed: Some(11), ..RunOptions::default() },
            agents: Vec::new(),
            failures: Vec::new(),
            clusters: Box::new(cluster::provisioner),
            listeners: Vec::new(),
            cancel: Cancel::new().1,
        }
    }

    /// Runs it. What comes back is the run, every event, and where its files are as long as that is kept.
    pub(crate) async fn perform(self) -> Performed {
        let folder = tempfile::tempdir().unwrap();
        let (failures, agents) = (folder.path().join("failures"), folder.path().join("agents"));
        for (id, metadata, script) in &self.failures {
            let dir = failures.join(id);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("metadata.yaml"), format!("id: {id}\n{metadata}")).unwrap();
            std::fs::write(dir.join("workload.yaml"), WORKLOAD).unwrap();
            if !script.is_empty() {
                std::fs::write(dir.join("induce.sh"), script).unwrap();
            }
        }
        std::fs::create_dir_all(&agents).unwrap();
        for (id, preset) in &self.agents {
            std::fs::write(agents.join(format!("{id}.yaml")), format!("id: {id}\n{preset}")).unwrap();
        }
        let library = Arc::new(catalog::Library::load(&[failures], builtin::failures()));
        assert!(library.problems().is_empty(), "{:?}", library.problems());
        let agents = Arc::new(catalog::Agents::load(&[agents], builtin::agents()));
        assert!(agents.problems().is_empty(), "{:?}", agents.problems());
        let known = Known {
            failures: library.ids(),
            agents: agents.ids(),
            provisioners: vec!["embedded".into()],
            ..Known::default()
        };
        let matrix = Matrix::parse(&Source::new("matrix.yaml", self.matrix.clone()), &known).unwrap();
        let host = Host::new(HostConfig { cache_dir: Some(cache()), limits: Limits::default() }).unwrap();
        let results = folder.path().join("results");
        let setting = Setting {
            library,
            agents,
            plugins: Plugins { host, steps: builtin::steps(), shim: builtin::shim() },
            grants: Arc::new(Grants::default()),
            journals: Journals::of(&results),
            hidden: Vec::new(),
            harness_exe: harness_cli(),
        };
        let store = Store::open(&results).unwrap();
        let matrix_bytes = self.matrix.into_bytes();
        let request = RunRequest { matrix, matrix_bytes, setting, store, options: self.options };
        let heard = Arc::default();
        let mut listeners: Vec<Box<dyn Listener>> = vec![Box::new(Heard(Arc::clone(&heard)))];
        listeners.extend(self.listeners);
        let document = run_on(request, &*self.clusters, listeners, self.cancel).await.unwrap();
        let events = std::mem::take(&mut *heard.lock().unwrap());
        Performed { document, events, _folder: folder }
    }
}

/// See [`Production::perform`].
pub(crate) struct Performed {
    pub(crate) document: RunDocument,
    pub(crate) events: Vec<Event>,
    /// Held for its files.
    _folder: tempfile::TempDir,
}

impl Performed {
    /// Outcome, class and message of each case, in expansion order.
    pub(crate) fn outcomes(&self) -> Vec<String> {
        outcomes(&self.document)
    }

    /// `run.json` as it lies in the run directory.
    pub(crate) fn run_file(&self) -> RunFile {
        let text = std::fs::read(Path::new(&self.document.dir).join("run.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

struct Heard(Arc<Mutex<Vec<Event>>>);

impl Listener for Heard {
    fn event(&mut self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

fn outcomes(document: &RunDocument) -> Vec<String> {
    let of = |case: &CaseFile| {
        let class = case.class.map(|class| class.as_str()).unwrap_or_default();
        format!("{} {class}: {}", case.outcome.as_str(), case.message)
    };
    document.cases.iter().map(of).collect()
}

/// Runs failures and an agent on clusters behind bad connections.
pub(crate) async fn play(play: Play<'_>) -> Played {
    let text = format!(
        "name: faults\nclusters: [{{id: c, provisioner: embedded}}]\nfailures: [{}]\nagents: [{}]\nobjective: {}\n",
        play.failures.join(", "),
        play.agent,
        play.objective
    );
    let connections = Arc::new(BadConnections { faults: play.faults, made: Mutex::default() });
    let found = Arc::clone(&connections);
    let mut production = Production::of(text);
    production.options.timeout_per_test = Some(Duration::from_secs(90));
    production.clusters = Box::new(move |_| Ok(found.clone()));
    production.listeners.extend(play.listener);
    let started = Instant::now();
    let document = production.perform().await.document;
    let clusters = connections.made.lock().unwrap().clone();
    Played { document, clusters, took: started.elapsed() }
}

/// `workload.yaml` of the failures of tests.
const WORKLOAD: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: checkout}
spec:
  selector: {matchLabels: {app: checkout}}
  template:
    metadata: {labels: {app: checkout}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: app, image: 'busybox:1.36', command: [sleep, '1000000']}]}
";

/// Compiled components are kept with the test, as the program keeps them.
fn cache() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("faults-cache")
}
