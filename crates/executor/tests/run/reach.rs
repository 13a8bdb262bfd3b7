//! What programs may read: the prefixes of usual installations, and what is cut out of them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use executor::Reach;

/// A folder with files and links (`link -> target`); programs are executable.
fn laid_out(files: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = fs::canonicalize(folder.path()).expect("there");
    for file in files {
        let (path, target) = file.split_once(" -> ").map_or((*file, None), |(path, target)| (path, Some(target)));
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        match target {
            Some(target) => symlink(target, &path).expect("linked"),
            None => {
                fs::write(&path, "#!/bin/sh\n").expect("written");
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
            }
        }
    }
    (folder, root)
}

fn reached(root: &Path, program: &str, hidden: &[&str]) -> Vec<String> {
    let mut reach = Reach::new();
    reach.program(&root.join(program));
    let hidden: Vec<PathBuf> = hidden.iter().map(|path| root.join(path)).collect();
    let all = reach.without(&hidden);
    all.iter().filter_map(|path| Some(path.strip_prefix(root).ok()?.display().to_string())).collect()
}

#[test]
fn a_program_reaches_what_it_was_installed_with() {
    let (_folder, root) = laid_out(&[
        "v20/bin/node",
        "v20/bin/agent -> ../lib/node_modules/@x/agent/cli.js",
        "v20/lib/node_modules/@x/agent/cli.js",
        "v20/lib/node_modules/other/index.js",
        "v20/secrets",
        "venv/pyvenv.cfg",
        "venv/bin/agent",
        "venv/share/data",
        "project/node_modules/.bin/agent -> ../agent/cli.js",
        "project/node_modules/agent/cli.js",
        "project/.env",
        "local/bin/agent -> ../share/agent/1.2.3/agent",
        "local/share/agent/1.2.3/agent",
        "local/share/keyrings/k",
        "own/agent",
        "own/other",
    ]);
    let reached = |program: &str| reached(&root, program, &[]);
    assert_eq!(reached("v20/bin/agent"), ["v20/bin", "v20/lib"]);
    assert!(reached("venv/bin/agent").contains(&"venv".to_owned()));
    let project = reached("project/node_modules/.bin/agent");
    assert!(project.contains(&"project/node_modules".to_owned()) && !project.contains(&"project".to_owned()));
    let local = reached("local/bin/agent");
    assert!(local.contains(&"local/share/agent/1.2.3".to_owned()), "{local:?}");
    assert!(!local.iter().any(|path| path == "local" || path.contains("keyrings") || path == "local/share"));
    assert_eq!(reached("own/agent"), ["own/agent"], "a program that lies among other things is one file");
}

#[test]
fn what_is_hidden_is_cut_out() {
    let (_folder, root) = laid_out(&[
        "venv/pyvenv.cfg",
        "venv/bin/agent",
        "venv/data/results/run.json",
        "venv/data/other/file",
        "venv/up -> ..",
        "venv/to-results -> data/results",
    ]);
    let left = reached(&root, "venv/bin/agent", &["venv/data/results"]);
    assert_eq!(left, ["venv/bin", "venv/data/other", "venv/pyvenv.cfg"]);
    let all = reached(&root, "venv/bin/agent", &[""]);
    assert_eq!(all, ["venv/bin/agent"], "what was named stays");
}

#[test]
fn secrets_of_the_system_stay_out() {
    let all = Reach::new().without(&[]);
    assert!(all.iter().any(|path| path == Path::new("/usr")));
    for closed in ["/", "/etc", "/etc/shadow", "/etc/kubernetes", "/root", "/home", "/tmp", "/var", "/dev", "/run"] {
        assert!(!all.iter().any(|path| path == Path::new(closed)), "{closed}");
    }
    if Path::new("/etc/passwd").exists() {
        assert!(all.iter().any(|path| path == Path::new("/etc/passwd")), "names of users are no secret");
    }
}
