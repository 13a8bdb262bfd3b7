//! Finds agent presets: those inside the program and `*.yaml` files of the agents folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::Id;
use yaml::Source;

use crate::library::Problem;
use crate::{AgentPreset, Price};

/// The agent presets that can be used, by id.
#[derive(Clone, Debug, Default)]
pub struct Agents {
    presets: BTreeMap<String, AgentPreset>,
    origins: BTreeMap<String, PathBuf>,
    problems: Vec<Problem>,
}

impl Agents {
    /// Loads the built-in presets (id and YAML text) and those of these folders. A file takes the place of a built-in
    /// preset of the same id; between folders the first wins. Folders that do not exist are empty.
    pub fn load<I: AsRef<str>, Y: AsRef<str>>(dirs: &[PathBuf], builtin: Vec<(I, Y)>) -> Self {
        let mut agents = Self::default();
        let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
        for (id, text) in &builtin {
            let path = PathBuf::from(format!("built-in {}.yaml", id.as_ref()));
            agents.add(id.as_ref(), &path, &Source::new(path.display().to_string(), text.as_ref()));
        }
        for dir in dirs {
            for path in files(dir) {
                let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
                if let Some(first) = found.get(&stem) {
                    let message = format!("agent `{stem}` is there already: {}", first.display());
                    agents.problems.push(Problem::plain(
                        &stem,
                        &path,
                        message,
                        Some("rename one of the two".to_owned()),
                    ));
                    continue;
                }
                agents.presets.remove(&stem);
                agents.origins.remove(&stem);
                match Source::read(&path) {
                    Ok(source) => agents.add(&stem, &path, &source),
                    Err(diagnostics) => agents.problems.push(Problem::new(&stem, &path, diagnostics)),
                }
                found.insert(stem, path);
            }
        }
        agents
    }

    fn add(&mut self, stem: &str, path: &Path, source: &Source) {
        match AgentPreset::parse(source, Some(stem)) {
            Ok(preset) => {
                self.presets.insert(stem.to_owned(), preset);
                self.origins.insert(stem.to_owned(), path.to_owned());
            }
            Err(diagnostics) => self.problems.push(Problem::new(stem, path, diagnostics)),
        }
    }

    /// The preset of this id.
    pub fn get(&self, id: &str) -> Option<&AgentPreset> {
        self.presets.get(id)
    }

    /// Where its preset was read: a file, or `built-in ID.yaml`; none for an agent without one.
    pub fn origin(&self, id: &str) -> Option<&Path> {
        self.origins.get(id).map(PathBuf::as_path)
    }

    /// The same, and `run-live-test.sh` for each of these ids that has no preset.
    #[must_use]
    pub fn with_live_tests<'a>(&self, ids: impl Iterator<Item = &'a Id>) -> Self {
        let mut agents = self.clone();
        for id in ids {
            agents.presets.entry(id.to_string()).or_insert_with(|| AgentPreset::live_test(id.clone()));
        }
        agents
    }

    /// Prices of the operator's own, which take the place of those of presets.
    #[must_use]
    pub fn with_prices(mut self, prices: &BTreeMap<String, Price>) -> Self {
        for preset in self.presets.values_mut() {
            preset.output.prices.extend(prices.iter().map(|(model, price)| (model.clone(), *price)));
        }
        self
    }

    /// All ids, sorted.
    pub fn ids(&self) -> Vec<String> {
        self.presets.keys().cloned().collect()
    }

    /// All presets, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = &AgentPreset> {
        self.presets.values()
    }

    /// What cannot be used.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Why the preset of this id cannot be used, where it is there but broken.
    pub fn problem(&self, id: &str) -> Option<&Problem> {
        self.problems.iter().find(|problem| problem.id == id)
    }
}

fn files(dir: &PathBuf) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let is_preset = |path: &PathBuf| {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        !hidden && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") && path.is_file()
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_preset).collect();
    paths.sort();
    paths
}
