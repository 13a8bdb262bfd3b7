//! What an agent finds in its environment, and where programs are looked up. Nothing is inherited that is not listed here.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::workspace::Workspace;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Loopback never goes through a proxy: the gate listens there.
const NO_PROXY: &str = "127.0.0.1,localhost,::1";

/// The search path that agents get: the harness's own.
pub(crate) fn path() -> String {
    env::var("PATH").ok().filter(|p| !p.is_empty()).unwrap_or_else(|| DEFAULT_PATH.to_owned())
}

/// The environment of an agent, without what its preset adds.
pub(crate) fn base(workspace: &Workspace, namespace: &str) -> BTreeMap<String, String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let language = env::var("LANG").unwrap_or_else(|_| "C.UTF-8".to_owned());
    BTreeMap::from([
        ("PATH".to_owned(), path()),
        ("LANG".to_owned(), language),
        ("TZ".to_owned(), env::var("TZ").unwrap_or_else(|_| "UTC".to_owned())),
        ("NO_PROXY".to_owned(), NO_PROXY.to_owned()),
        ("no_proxy".to_owned(), NO_PROXY.to_owned()),
        ("HOME".to_owned(), text(workspace.home())),
        ("TMPDIR".to_owned(), text(&workspace.temporary())),
        ("KUBECONFIG".to_owned(), text(&workspace.kubeconfig())),
        ("HARNESS_TASK".to_owned(), text(&workspace.task())),
        ("HARNESS_ANSWER".to_owned(), text(&workspace.answer())),
        ("HARNESS_NAMESPACE".to_owned(), namespace.to_owned()),
    ])
}

/// The environment of a version command: the caller's own home, where such programs keep what they need.
pub(crate) fn for_probe() -> BTreeMap<String, String> {
    let inherited = |name: &str| Some((name.to_owned(), env::var(name).ok()?));
    let mut environment: BTreeMap<String, String> = ["HOME", "LANG"].into_iter().filter_map(inherited).collect();
    environment.insert("PATH".to_owned(), path());
    environment
}

/// The program as it would be found: a path as it is, a name through `path`.
pub(crate) fn find_program(program: &str, path: &str) -> Option<PathBuf> {
    let runnable =
        |candidate: &Path| candidate.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|p| runnable(p)).and_then(|p| std::path::absolute(p).ok());
    }
    env::split_paths(OsStr::new(path))
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(program))
        .find(|candidate| runnable(candidate))
}
