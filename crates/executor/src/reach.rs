//! What a program must be able to read to run at all: the system, itself with what it was installed with, and what is on
//! the search path. Folders that hold secrets, or what must stay hidden, are left out child by child.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use crate::environment;

/// What every program may read.
const SYSTEM: [&str; 16] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix",
    "/gnu",
    "/proc",
    "/sys",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/nscd",
    "/run/current-system",
];
/// Parts of `/etc` that lead to other clusters or hold keys, whatever their permissions say.
const PRIVATE: [&str; 16] = [
    "kubernetes",
    "rancher",
    "k0s",
    "k3s",
    "cni",
    "etcd",
    "containerd",
    "docker",
    "ssh",
    "private",
    "sudoers",
    "sudoers.d",
    "wireguard",
    "openvpn",
    "letsencrypt",
    "vault.d",
];
/// Links in links, and interpreters of interpreters, that are followed.
const HOPS: usize = 8;
/// Entries of a folder that are looked at.
const MAX_ENTRIES: usize = 10_000;
/// Folders in `/etc` that are looked into.
const MAX_DEPTH: usize = 6;

/// Folders, and when their entries changed last.
type Stamps = Vec<(PathBuf, Option<SystemTime>)>;

/// Gathers what may be read.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    folders: BTreeSet<PathBuf>,
    /// Whatever they are, without a link on the way to them.
    real: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
}

impl Reach {
    /// The system, and what the search path of agents and scripts leads to. Gathered anew only when something was installed.
    pub fn new() -> Self {
        static LAST: Mutex<Option<(Stamps, Reach)>> = Mutex::new(None);
        let path = environment::path();
        let dirs: Vec<PathBuf> =
            std::env::split_paths(&path).filter(|dir| dir.is_absolute() && !is_system(dir)).collect();
        // Links to programs change their folder, and libraries the folder around it.
        let around = dirs.iter().flat_map(|dir| [Some(dir.as_path()), dir.parent()]).flatten();
        let changed = |dir: &Path| fs::metadata(dir).and_then(|meta| meta.modified()).ok();
        let stamps: Stamps = around.map(|dir| (dir.to_owned(), changed(dir))).collect();
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((known, reach)) if *known == stamps => reach.clone(),
            _ => last.insert((stamps, Self::of(&dirs))).1.clone(),
        }
    }

    fn of(dirs: &[PathBuf]) -> Self {
        let mut reach = Self::default();
        reach.folders.extend(SYSTEM.iter().map(PathBuf::from));
        reach.real.extend(etc().iter().cloned());
        dirs.iter().for_each(|dir| reach.search_folder(dir));
        reach
    }

    /// A program with what it was installed with.
    pub fn program(&mut self, program: &Path) {
        self.installed(program, HOPS);
    }

    /// One file, wherever it lies.
    pub fn file(&mut self, path: &Path) {
        if path.is_file() {
            self.files.insert(path.to_owned());
        }
    }

    /// Whatever lies there; `~/` is the caller's home.
    pub fn named(&mut self, path: &str) {
        let path = match (path.strip_prefix("~/"), home()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(path),
        };
        self.folders.insert(path);
    }

    /// All of it without what is hidden. Files that were named one by one stay.
    pub fn without(self, hidden: &[PathBuf]) -> Vec<PathBuf> {
        let hidden: Vec<PathBuf> = hidden.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
        let mut left = self.files;
        let found = self.folders.iter().filter_map(|folder| fs::canonicalize(folder).ok());
        found.chain(self.real).for_each(|real| subtract(real, &hidden, &mut left));
        let covered = |path: &Path| path.ancestors().skip(1).any(|above| left.contains(above));
        left.iter().filter(|path| !covered(path)).cloned().collect()
    }

    fn search_folder(&mut self, dir: &Path) {
        self.prefix(dir);
        // Package managers put links there.
        for entry in fs::read_dir(dir).into_iter().flatten().flatten().take(MAX_ENTRIES) {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                self.installed(&entry.path(), 1);
            }
        }
    }

    fn installed(&mut self, program: &Path, hops: usize) {
        let mut at = program.to_owned();
        let mut linked = false;
        for _ in 0..HOPS {
            let real_parent = at.parent().and_then(|parent| fs::canonicalize(parent).ok());
            let (Some(parent), Some(name)) = (real_parent, at.file_name()) else { break };
            at = parent.join(name);
            if !is_system(&at) {
                self.file(&at);
                self.around(&parent, linked && hops > 1);
            }
            let Ok(target) = fs::read_link(&at) else { break };
            at = parent.join(target);
            linked = true;
        }
        if hops > 1
            && let Some(interpreter) = interpreter(&at)
        {
            self.installed(&interpreter, hops - 1);
        }
    }

    /// What was installed with a program of this folder.
    fn around(&mut self, dir: &Path, whole: bool) {
        let modules = dir.ancestors().filter(|a| a.file_name().is_some_and(|n| n == "node_modules")).last();
        if let Some(modules) = modules {
            self.folders.insert(modules.to_owned());
        } else if dir.file_name().is_some_and(|name| name == "bin" || name == "sbin") {
            self.prefix(dir);
        } else if whole && !dir.parent().is_none_or(holds_home) {
            // A link stood where programs stand, and leads into a folder of this program alone.
            self.folders.insert(dir.to_owned());
        }
    }

    /// A folder of programs, and the libraries beside it.
    fn prefix(&mut self, dir: &Path) {
        if holds_home(dir) {
            return;
        }
        self.folders.insert(dir.to_owned());
        let Some(prefix) = dir.parent().filter(|prefix| !holds_home(prefix)) else { return };
        if ["pyvenv.cfg", "conda-meta"].iter().any(|mark| prefix.join(mark).exists()) {
            self.folders.insert(prefix.to_owned());
            return;
        }
        let beside = ["lib", "lib32", "lib64", "libexec"].into_iter().map(|name| prefix.join(name));
        self.folders.extend(beside.filter(|path| path.is_dir()));
    }
}

/// A root that is no part of hidden things, or its parts that are none.
fn subtract(root: PathBuf, hidden: &[PathBuf], left: &mut BTreeSet<PathBuf>) {
    if hidden.iter().any(|hidden| root.starts_with(hidden)) {
        return;
    }
    if !hidden.iter().any(|hidden| hidden.starts_with(&root)) {
        left.insert(root);
        return;
    }
    for entry in fs::read_dir(&root).into_iter().flatten().flatten().take(MAX_ENTRIES) {
        let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        let Ok(real) = fs::canonicalize(entry.path()) else { continue };
        // A link may lead back up: it is taken whole or not at all.
        if !link || !hidden.iter().any(|hidden| hidden.starts_with(&real)) {
            subtract(real, hidden, left);
        }
    }
}

/// What anybody on this machine may read of `/etc`, less what leads to clusters; where links lead to.
fn etc() -> &'static [PathBuf] {
    static ETC: OnceLock<Vec<PathBuf>> = OnceLock::new();
    ETC.get_or_init(|| {
        let mut found = Vec::new();
        if public(Path::new("/etc"), 0, &mut found) {
            found = vec![PathBuf::from("/etc")];
        }
        found.iter().filter_map(|path| fs::canonicalize(path).ok()).collect()
    })
}

/// Adds the children that everybody may read, unless everybody may read all of them: then returns true.
fn public(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> bool {
    let Some(entries) = fs::read_dir(dir).ok().filter(|_| depth < MAX_DEPTH) else { return false };
    let (mut all, mut here) = (true, Vec::new());
    for (count, entry) in entries.flatten().enumerate() {
        let (path, name) = (entry.path(), entry.file_name());
        // Through links: `resolv.conf` often is one.
        let readable = fs::metadata(&path).ok().filter(|meta| {
            let wanted = if meta.is_dir() { 0o5 } else { 0o4 };
            meta.permissions().mode() & wanted == wanted
        });
        let Some(meta) = readable.filter(|_| count < MAX_ENTRIES && !PRIVATE.iter().any(|private| name == *private))
        else {
            all = false;
            continue;
        };
        if !meta.is_dir() || public(&path, depth + 1, &mut here) {
            here.push(path.clone());
        } else {
            all = false;
        }
        // The target of a link that leads elsewhere needs a rule of its own.
        let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        all &= !link || fs::canonicalize(&path).is_ok_and(|real| real.starts_with("/etc") || is_system(&real));
    }
    if !all {
        found.append(&mut here);
    }
    all
}

/// The program that a script names in its first line.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut head = Vec::new();
    fs::File::open(script).ok()?.take(256).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_whitespace();
    let program = Path::new(words.next()?).to_owned();
    if program.file_name().is_some_and(|name| name == "env") {
        let name = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
        return environment::find_program(name, &environment::path());
    }
    Some(program)
}

fn is_system(path: &Path) -> bool {
    SYSTEM.iter().any(|root| path.starts_with(root))
}

/// The whole disk, the home, or a folder above it: too much to be anybody's prefix.
fn holds_home(dir: &Path) -> bool {
    let real = home().and_then(|home| fs::canonicalize(home).ok());
    dir.parent().is_none()
        || real.is_some_and(|home| home.starts_with(dir))
        || home().is_some_and(|home| home.starts_with(dir))
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}
