//! Kubeconfigs: which file, which context, which server. Reads files; contacts nothing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kube::config::{Kubeconfig, KubeconfigError};

use crate::{ClusterRef, ProvisionError};

/// The file that is meant, absolute: what is named, else `$KUBECONFIG`, else `~/.kube/config`.
pub(crate) fn locate(named: Option<&str>) -> Result<PathBuf, ProvisionError> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let listed = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
    locate_with(named, home.as_deref(), listed.as_deref())
}

fn locate_with(named: Option<&str>, home: Option<&Path>, listed: Option<&OsStr>) -> Result<PathBuf, ProvisionError> {
    let fault = |path: &Path, why: String| ProvisionError::Kubeconfig { path: path.to_owned(), why };
    let absolute = |path: &Path| std::path::absolute(path).map_err(|error| fault(path, error.to_string()));
    match (named, listed) {
        (Some(named), _) => {
            let Some(rest) = named.strip_prefix('~') else { return absolute(Path::new(named)) };
            match (rest.strip_prefix('/'), home) {
                (Some(rest), Some(home)) => absolute(&home.join(rest)),
                (Some(_), None) => Err(fault(Path::new(named), "HOME is not set; write the whole path".into())),
                (None, _) => Err(fault(Path::new(named), "only `~/…` stands for a home directory".into())),
            }
        }
        (None, Some(listed)) => {
            let paths: Vec<PathBuf> = std::env::split_paths(listed)
                .filter(|path| !path.as_os_str().is_empty())
                .map(|path| absolute(&path))
                .collect::<Result<_, _>>()?;
            let joined = std::env::join_paths(paths).map_err(|error| fault(Path::new(listed), error.to_string()))?;
            Ok(joined.into())
        }
        (None, None) => match home {
            Some(home) => absolute(&home.join(".kube/config")),
            None => Err(fault(Path::new("~/.kube/config"), "HOME is not set; name a kubeconfig".into())),
        },
    }
}

/// Reads the file (or files, joined as in `$KUBECONFIG`) and resolves the context. The kubeconfig that comes back has it
/// as its current context.
pub(crate) fn read(path: &Path, context: Option<&str>) -> Result<(Kubeconfig, ClusterRef), ProvisionError> {
    let fault = |why: String| ProvisionError::Kubeconfig { path: path.to_owned(), why };
    let mut config = Kubeconfig::default();
    for one in std::env::split_paths(path) {
        let read = Kubeconfig::read_from(&one).map_err(|error| fault(explain(&error)))?;
        config = config.merge(read).map_err(|error| fault(explain(&error)))?;
    }
    let there = || {
        let names: Vec<&str> = config.contexts.iter().map(|one| one.name.as_str()).collect();
        if names.is_empty() { "it has no contexts".to_owned() } else { format!("it has: {}", names.join(", ")) }
    };
    let Some(name) = context.or(config.current_context.as_deref()).filter(|name| !name.is_empty()) else {
        return Err(fault(format!("it has no current context; name one: {}", there())));
    };
    let name = name.to_owned();
    let found = config.contexts.iter().find(|one| one.name == name).and_then(|one| one.context.as_ref());
    let found = found.ok_or_else(|| fault(format!("there is no context `{name}`; {}", there())))?;
    let cluster = config.clusters.iter().find(|one| one.name == found.cluster).and_then(|one| one.cluster.as_ref());
    let cluster = cluster
        .ok_or_else(|| fault(format!("context `{name}` names the cluster `{}`, which is not in it", found.cluster)))?;
    let server = cluster.server.as_deref().filter(|server| !server.is_empty());
    let server = server.ok_or_else(|| fault(format!("cluster `{}` has no `server`", found.cluster)))?;
    if cluster.proxy_url.as_deref().is_some_and(|proxy| !proxy.is_empty()) {
        return Err(fault(format!("cluster `{}` has a `proxy-url`, which this version does not serve", found.cluster)));
    }
    let server = gate::normal_server(server);
    let reference = ClusterRef { kubeconfig: path.to_owned(), context: name.clone(), server };
    config.current_context = Some(name);
    Ok((config, reference))
}

/// A program that the context would run for its credentials.
pub(crate) fn program(config: &Kubeconfig) -> Option<String> {
    let context = config.contexts.iter().find(|one| Some(&one.name) == config.current_context.as_ref())?;
    let user = context.context.as_ref()?.user.as_ref()?;
    let user = config.auth_infos.iter().find(|one| one.name == *user)?.auth_info.as_ref()?;
    if let Some(exec) = &user.exec {
        return Some(exec.command.clone().unwrap_or_default());
    }
    user.auth_provider.as_ref().map(|provider| provider.config.get("cmd-path").cloned().unwrap_or_default())
}

/// Whether the operator keeps kubeconfigs there: below `~/.kube`, or named by `$KUBECONFIG`. Others may have come with a
/// matrix, and matrices come from strangers.
pub(crate) fn is_the_operators(path: &Path) -> bool {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    is_kept_by(path, home.as_deref(), &listed)
}

fn is_kept_by(path: &Path, home: Option<&Path>, listed: &OsStr) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    let folder = home.and_then(|home| real(&home.join(".kube")));
    let listed: Vec<PathBuf> = std::env::split_paths(listed).filter_map(|path| real(&path)).collect();
    std::env::split_paths(path).all(|path| {
        real(&path).is_some_and(|path| {
            folder.as_ref().is_some_and(|folder| path.starts_with(folder)) || listed.contains(&path)
        })
    })
}

/// Without the path, which the caller names.
fn explain(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(source, path) => format!("{} cannot be read: {source}", path.display()),
        other => crate::connect::chain(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "apiVersion: v1\nkind: Config\ncurrent-context: one\nclusters:\n- {name: c, cluster: {server: \
                       'https://A.example:443/'}}\n- {name: none, cluster: {}}\n- {name: by, cluster: {server: \
                       'https://b', proxy-url: 'http://p:1'}}\ncontexts:\n- {name: one, context: {cluster: c, user: \
                       u}}\n- {name: lost, context: {cluster: gone}}\n- {name: empty, context: {cluster: none}}\n- \
                       {name: through, context: {cluster: by}}\n";

    #[test]
    fn the_named_file_wins_over_the_environment_and_that_over_the_home() {
        let home = Some(Path::new("/home/me"));
        let listed = Some(OsStr::new("/a/x:/b/y"));
        let at = |named, home, listed| locate_with(named, home, listed).map_err(|error| error.to_string());
        assert_eq!(at(Some("~/.kube/s.yaml"), home, listed), Ok("/home/me/.kube/s.yaml".into()));
        assert_eq!(at(Some("/etc/k"), home, listed), Ok("/etc/k".into()));
        assert_eq!(at(None, home, listed), Ok("/a/x:/b/y".into()));
        assert_eq!(at(None, home, None), Ok("/home/me/.kube/config".into()));
        assert!(at(Some("k"), home, None).is_ok_and(|path| path.is_absolute() && path.ends_with("k")));
        for (named, home) in [(Some("~other/k"), home), (Some("~/k"), None), (None, None)] {
            assert!(at(named, home, None).is_err(), "{named:?}");
        }
    }

    #[test]
    fn a_context_is_resolved_or_the_error_says_what_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        std::fs::write(&path, TWO).expect("written");
        let (config, reference) = read(&path, None).expect("reads");
        assert_eq!((reference.context.as_str(), reference.server.as_str()), ("one", "https://a.example"));
        assert_eq!(config.current_context.as_deref(), Some("one"));
        for (context, says) in [
            ("absent", "there is no context `absent`; it has: one, lost, empty, through"),
            ("lost", "names the cluster `gone`, which is not in it"),
            ("empty", "has no `server`"),
            ("through", "proxy-url"),
        ] {
            let error = read(&path, Some(context)).expect_err(context);
            assert!(error.to_string().contains(says) && error.is_input(), "{error}");
        }
        let error = read(&folder.path().join("missing"), None).expect_err("missing").to_string();
        assert!(error.contains("missing") && error.contains("No such file"), "{error}");
        std::fs::write(&path, "clusters: 3\n").expect("written");
        assert!(read(&path, None).is_err());
        std::fs::write(&path, "").expect("written");
        let error = read(&path, None).expect_err("empty").to_string();
        assert!(error.contains("no current context") && error.contains("no contexts"), "{error}");
    }

    #[test]
    fn a_program_is_found_where_the_context_names_one() {
        let exec = "apiVersion: v1\nkind: Config\ncurrent-context: plain\nclusters:\n- {name: c, cluster: {server: \
                    'https://a'}}\ncontexts:\n- {name: plain, context: {cluster: c, user: t}}\n- {name: cloud, context: \
                    {cluster: c, user: e}}\nusers:\n- {name: t, user: {token: x}}\n- {name: e, user: {exec: \
                    {apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Never}}}\n";
        let folder = tempfile::tempdir().expect("a folder");
        let kube = folder.path().join(".kube");
        std::fs::create_dir(&kube).expect("made");
        let (inside, outside) = (kube.join("config"), folder.path().join("config"));
        for path in [&inside, &outside] {
            std::fs::write(path, exec).expect("written");
        }
        let of = |context| program(&read(&inside, Some(context)).expect("reads").0);
        assert_eq!((of("plain"), of("cloud").as_deref()), (None, Some("aws")));

        let kept = |path: &Path, listed: &Path| is_kept_by(path, Some(folder.path()), listed.as_os_str());
        assert!(kept(&inside, Path::new("")));
        assert!(!kept(&outside, Path::new("")) && kept(&outside, &outside));
        assert!(!kept(&kube.join("../config"), Path::new("")), "the way there does not count");
        let both = std::env::join_paths([&inside, &outside]).expect("joined");
        assert!(!kept(Path::new(&both), Path::new("")));
    }

    #[test]
    fn several_files_are_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        std::fs::write(&first, "current-context: one\n").expect("written");
        std::fs::write(&second, TWO.replace("current-context: one", "current-context: lost")).expect("written");
        let joined = std::env::join_paths([&first, &second]).expect("joined");
        let (_, reference) = read(Path::new(&joined), None).expect("reads");
        assert_eq!(reference.context, "one", "the first file wins");
        assert_eq!(reference.kubeconfig, Path::new(&joined));
    }
}
