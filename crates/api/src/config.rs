//! Where things are: what the caller says, then `harness.toml`, then the defaults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use catalog::Price;
use serde::Deserialize;
use yaml::{Diagnostic, Source};

use crate::ApiError;

/// The file that is read where none is named.
const FILE: &str = "harness.toml";
/// The grants file that is used where `harness.toml` names none.
const GRANTS: &str = "grants.yaml";
/// The default executor that is used where the grants file names none.
const LIVE_TEST: &str = "tests/run-live-test.sh";

/// What a caller may say; what it does not say comes from the configuration file or is the default.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The configuration file; one that is named must be there.
    pub config: Option<PathBuf>,
    /// Where runs are stored.
    pub results_dir: Option<PathBuf>,
    /// Folders of failures.
    pub failures_dirs: Vec<PathBuf>,
    /// Folders of agent presets.
    pub agents_dirs: Vec<PathBuf>,
    /// The operator's grants.
    pub grants: Option<PathBuf>,
}

/// Where things are.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where runs are stored; need not be there yet.
    pub results_dir: PathBuf,
    /// Folders of failures; all are there.
    pub failures_dirs: Vec<PathBuf>,
    /// Folders of agent presets; all are there.
    pub agents_dirs: Vec<PathBuf>,
    /// The operator's grants, where there are any.
    pub grants: Option<PathBuf>,
    /// Where compiled components are kept; none: nowhere.
    pub cache_dir: Option<PathBuf>,
    /// This program, for agent presets that say `$(harness)`.
    pub harness_exe: PathBuf,
    /// The `run-live-test.sh` of the project, where there is one.
    pub live_test_script: Option<PathBuf>,
    /// What models cost, by name; they go before the prices of presets.
    pub prices: BTreeMap<String, Price>,
}

/// `harness.toml`. Paths in it are relative to its folder.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    results_dir: Option<PathBuf>,
    failures_dirs: Option<Vec<PathBuf>>,
    agents_dirs: Option<Vec<PathBuf>>,
    grants: Option<PathBuf>,
    #[serde(default)]
    prices: BTreeMap<String, Price>,
}

impl Config {
    /// Puts it together.
    ///
    /// # Errors
    /// A configuration file that cannot be read, or a folder or file that was named and is not there.
    pub fn load(said: Overrides) -> Result<Self, ApiError> {
        let (file, folder) = read(said.config.as_deref())?;
        let from_file = |path: PathBuf| folder.join(path);
        let named_failures = dirs(said.failures_dirs, file.failures_dirs, &folder);
        let named_agents = dirs(said.agents_dirs, file.agents_dirs, &folder);
        let named_grants = said.grants.or_else(|| file.grants.map(from_file));
        for dir in named_failures.iter().chain(&named_agents).flatten() {
            if !dir.is_dir() {
                return Err(ApiError::input(format!("the folder `{}` is not there", dir.display())));
            }
        }
        if let Some(missing) = named_grants.iter().find(|path| !path.is_file()) {
            return Err(ApiError::input(format!("the grants file `{}` is not there", missing.display())));
        }
        let there = |names: &[&str]| names.iter().map(|name| folder.join(name)).filter(|p| p.is_dir()).collect();
        let script = folder.join(LIVE_TEST);
        Ok(Self {
            results_dir: said.results_dir.or_else(|| file.results_dir.map(from_file)).unwrap_or("results".into()),
            failures_dirs: named_failures.unwrap_or_else(|| there(&["failures", "tests/failures"])),
            agents_dirs: named_agents.unwrap_or_else(|| there(&["agents"])),
            grants: named_grants.or_else(|| Some(folder.join(GRANTS)).filter(|path| path.is_file())),
            cache_dir: cache_dir(),
            harness_exe: std::env::current_exe().map_err(|e| ApiError::io("find", Path::new("this program"), e))?,
            live_test_script: script.is_file().then_some(script),
            prices: file.prices,
        })
    }
}

/// What was named: by the caller, or else in the file.
fn dirs(said: Vec<PathBuf>, in_file: Option<Vec<PathBuf>>, folder: &Path) -> Option<Vec<PathBuf>> {
    if said.is_empty() { in_file.map(|dirs| dirs.iter().map(|dir| folder.join(dir)).collect()) } else { Some(said) }
}

/// The file and the folder that its paths are relative to: an empty path where there is no file, so that paths stay as
/// short as people wrote them.
fn read(named: Option<&Path>) -> Result<(File, PathBuf), ApiError> {
    let path = named.unwrap_or(Path::new(FILE));
    if named.is_none() && !path.is_file() {
        return Ok((File::default(), PathBuf::new()));
    }
    let source = Source::read(path)?;
    let file = toml::from_str(&source.text).map_err(|error| {
        let (message, span) = (error.message().to_owned(), error.span());
        match span {
            Some(span) => Diagnostic::new("config", &source, span, message),
            None => Diagnostic::without_span("config", &source, message),
        }
    })?;
    Ok((file, path.parent().unwrap_or(Path::new("")).to_owned()))
}

/// `$XDG_CACHE_HOME/harness` or `~/.cache/harness`.
fn cache_dir() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("harness"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_wins_over_the_file_and_the_file_over_the_defaults() {
        let folder = tempfile::tempdir().expect("a folder");
        let here = folder.path();
        for dir in ["failures", "tests/failures", "mine", "agents"] {
            std::fs::create_dir_all(here.join(dir)).expect("made");
        }
        let file = here.join("harness.toml");
        let load = |text: &str, said: Overrides| {
            std::fs::write(&file, text).expect("written");
            Config::load(Overrides { config: Some(file.clone()), ..said })
        };
        let config = load("", Overrides::default()).expect("loads");
        assert_eq!(config.results_dir, Path::new("results"));
        assert_eq!(config.failures_dirs, [here.join("failures"), here.join("tests/failures")]);
        assert_eq!((config.agents_dirs, config.grants), (vec![here.join("agents")], None));

        std::fs::write(here.join("grants.yaml"), "").expect("written");
        let text = "results_dir = \"out\"\nfailures_dirs = [\"mine\"]\n\
                    [prices]\n\"gpt-5\" = {input = 2.0, cached_input = 0.5, output = 10.0}\n";
        std::fs::write(here.join(LIVE_TEST), "").expect("written");
        let config = load(text, Overrides::default()).expect("loads");
        assert_eq!(config.prices["gpt-5"].cached_input, Some(0.5));
        assert_eq!(config.live_test_script, Some(here.join(LIVE_TEST)));
        assert_eq!(config.results_dir, here.join("out"), "relative to the file");
        assert_eq!((config.failures_dirs, config.grants), (vec![here.join("mine")], Some(here.join("grants.yaml"))));

        let said =
            Overrides { results_dir: Some("r".into()), failures_dirs: vec![here.to_owned()], ..Default::default() };
        let config = load(text, said).expect("loads");
        assert_eq!((config.results_dir, config.failures_dirs), ("r".into(), vec![here.to_owned()]));

        let missing = load("agents_dirs = [\"absent\"]\n", Overrides::default()).expect_err("refused");
        assert!(missing.to_string().contains("absent"), "{missing}");
    }
}
