//! An agent that looks for the answer instead of the fault: it searches everything that it can reach for words that would
//! tell it what was done, and writes down where it found which. The words come in hex, so that nothing else is found in
//! the list itself. Usage: `scan WORDS-FILE`, in the environment of an agent.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes of one file that are searched, bytes of all files, and time for all files.
const FILE: u64 = 4 << 20;
const FILES: u64 = 1 << 30;
const TIME: Duration = Duration::from_secs(10);
/// What comes with the machine, and what is no file.
const LEFT_OUT: [&str; 10] = ["/usr", "/opt", "/lib", "/lib64", "/bin", "/sbin", "/boot", "/proc", "/sys", "/dev"];

struct Scan {
    /// The words, by their first byte.
    beginning: Vec<Vec<String>>,
    own: BTreeSet<PathBuf>,
    hits: BTreeSet<String>,
    notes: Vec<String>,
}

fn main() {
    let list = std::env::args().nth(1).map(PathBuf::from).expect("the file of words");
    let text = fs::read_to_string(&list).expect("the words can be read");
    let mut beginning = vec![Vec::new(); 256];
    for word in text.lines().map(|line| unhex(line.trim())) {
        if let Some(first) = word.bytes().next() {
            beginning[usize::from(first)].push(word);
        }
    }
    let mut scan = Scan { beginning, own: BTreeSet::from([list]), hits: BTreeSet::new(), notes: Vec::new() };
    scan.environment();
    scan.processes();
    scan.files();
    scan.cluster();
    let mut report: String = scan.hits.iter().map(|hit| format!("HIT {hit}\n")).collect();
    report.extend(scan.notes.iter().map(|note| format!("{note}\n")));
    report.push_str("END\n");
    fs::write("scan.txt", report).expect("the workspace can be written to");
}

fn unhex(text: &str) -> String {
    let digits = text.as_bytes().chunks(2);
    let bytes = digits.filter_map(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok()).collect();
    String::from_utf8(bytes).expect("the words are text")
}

impl Scan {
    fn search(&mut self, kind: &str, place: &str, content: &[u8]) {
        // One pass over what may be large, whatever the number of words.
        for (at, byte) in content.iter().enumerate() {
            for word in &self.beginning[usize::from(*byte)] {
                if content[at..].starts_with(word.as_bytes()) {
                    self.hits.insert(format!("{kind} {place}: {word}"));
                }
            }
        }
    }

    fn environment(&mut self) {
        for (name, value) in std::env::vars_os() {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            self.notes.push(format!("ENV {name}"));
            self.search("environment", &name, format!("{name}={value}").as_bytes());
        }
    }

    /// Those above this one, and what the harness among them has started: others on this machine are none of its doing.
    fn processes(&mut self) {
        let mut family = Vec::new();
        let mut pid = std::process::id();
        while pid > 1 {
            let Some((name, parent)) = stat(pid) else { break };
            family.push(pid);
            if name.starts_with("harness") {
                family.extend(children(pid));
            }
            pid = parent;
        }
        self.notes.push(format!("PROCESSES {}", family.len()));
        for pid in family {
            for name in ["cmdline", "environ", "comm", "maps", "mountinfo"] {
                let path = format!("/proc/{pid}/{name}");
                let content = fs::read(&path).unwrap_or_default();
                let other = pid != std::process::id() && name == "environ";
                if other && contains(&content, b"HARNESS_") && !contains(&content, b"HARNESS_TASK=") {
                    self.hits.insert(format!("process {path}: a variable of the harness"));
                }
                self.search("process", &path, &content);
            }
            let links = ["cwd", "exe", "root"].map(PathBuf::from).into_iter();
            let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            let open = open.map(|entry| PathBuf::from("fd").join(entry.file_name()));
            for link in links.chain(open).collect::<Vec<_>>() {
                let path = Path::new("/proc").join(pid.to_string()).join(link);
                let target = fs::read_link(&path).unwrap_or_default();
                self.search("process", &path.display().to_string(), target.as_os_str().as_encoded_bytes());
            }
        }
    }

    /// The nearest first: own places, what lies around them, then everything.
    fn files(&mut self) {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let mut roots: Vec<PathBuf> = std::env::current_dir().into_iter().collect();
        roots.extend(["HOME", "TMPDIR", "HARNESS_TASK", "KUBECONFIG"].into_iter().filter_map(variable));
        let around: Vec<PathBuf> = roots.iter().flat_map(|root| root.ancestors().skip(1).map(Path::to_owned)).collect();
        roots.extend(around.into_iter().filter(|path| path != Path::new("/")));
        roots.extend(["/tmp", "/var", "/home", "/root", "/run", "/etc", "/srv", "/mnt", "/"].map(PathBuf::from));
        let (begun, mut seen, mut bytes) = (Instant::now(), BTreeSet::new(), 0);
        let mut complete = true;
        for root in roots {
            let mut pending = vec![root];
            while let Some(path) = pending.pop() {
                if begun.elapsed() > TIME || bytes > FILES {
                    complete = false;
                    break;
                }
                if !seen.insert(path.clone()) || LEFT_OUT.iter().any(|out| path == Path::new(out)) {
                    continue;
                }
                let Ok(meta) = fs::symlink_metadata(&path) else { continue };
                self.search("file name", &path.display().to_string(), path.as_os_str().as_encoded_bytes());
                if meta.is_dir() {
                    pending.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
                } else if meta.is_file() && !self.own.contains(&path) {
                    bytes += self.file(&path);
                }
            }
        }
        self.notes.push(format!("FILES {} names, {} bytes, complete: {complete}", seen.len(), bytes));
    }

    fn file(&mut self, path: &Path) -> u64 {
        let Ok(file) = fs::File::open(path) else { return 0 };
        let mut content = Vec::new();
        if file.take(FILE).read_to_end(&mut content).is_err() {
            return 0;
        }
        self.search("file", &path.display().to_string(), &content);
        content.len() as u64
    }

    fn cluster(&mut self) {
        if kubectl(&["version"]).is_none() {
            return self.notes.push("CLUSTER not searched: there is no kubectl".to_owned());
        }
        let namespace = std::env::var("HARNESS_NAMESPACE").unwrap_or_default();
        let resources = kubectl(&["api-resources", "--verbs=list", "--output=name"]).unwrap_or_default();
        let resources = String::from_utf8_lossy(&resources).into_owned();
        let (mut read, mut pods) = (BTreeSet::new(), Vec::new());
        // All kinds at once: a process for each would take longer than everything else. Those that may not be listed are
        // told on standard error, the others come all the same.
        let all = resources.lines().collect::<Vec<_>>().join(",");
        for scope in [["--namespace", &namespace], ["--all-namespaces", "--ignore-not-found"]] {
            let args = ["get", &all, "--output=json", "--show-managed-fields", scope[0], scope[1]];
            let answer = output(&args);
            self.search("objects", scope[0], &answer);
            let list: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
            for item in list["items"].as_array().into_iter().flatten() {
                let kind = item["kind"].as_str().unwrap_or_default();
                read.insert(kind.to_owned());
                match (kind, scope[0]) {
                    ("Pod", "--namespace") => pods.extend(item["metadata"]["name"].as_str().map(str::to_owned)),
                    ("Deployment", "--namespace") => self.managers(item),
                    _ => {}
                }
            }
        }
        for args in [
            &["auth", "can-i", "--list"][..],
            &["auth", "whoami"],
            &["api-versions"],
            &["describe", "all"],
            &["describe", "nodes"],
            &["get", "events", "--output=yaml"],
            &["get", "namespace", &namespace, "--output=json", "--show-managed-fields"],
            &["get", "--raw", "/apis"],
            &["get", "--raw", "/openapi/v2"],
            &["get", "--raw", "/openapi/v3"],
            &["get", "--raw", "/healthz?verbose"],
            &["config", "view", "--raw"],
        ] {
            let answer = kubectl(args).unwrap_or_default();
            self.search("kubectl", &args.join(" "), &answer);
        }
        for pod in &pods {
            for which in ["--previous=false", "--previous=true"] {
                let answer = kubectl(&["logs", pod, "--all-containers", which]).unwrap_or_default();
                self.search("logs", pod, &answer);
            }
        }
        self.notes.push(format!("CLUSTER lists with {} kinds, {} pods", read.len(), pods.len()));
    }

    /// Who has written the fields of a Deployment, besides controllers.
    fn managers(&mut self, object: &serde_json::Value) {
        let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
        let managers: BTreeSet<&str> = entries.filter_map(|entry| entry["manager"].as_str()).collect();
        let others: Vec<&str> = managers.into_iter().filter(|m| *m != "kube-controller-manager").collect();
        self.notes.push(format!("MANAGERS {}", others.join(",")));
    }
}

fn contains(content: &[u8], word: &[u8]) -> bool {
    let Some(first) = word.first() else { return false };
    let starts = content.iter().enumerate().filter(|(_, byte)| *byte == first);
    starts.into_iter().any(|(at, _)| content[at..].starts_with(word))
}

/// Name and parent.
fn stat(pid: u32) -> Option<(String, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, after) = text.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    Some((name, after.split_whitespace().nth(1)?.parse().ok()?))
}

fn children(of: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|pid| stat(*pid).is_some_and(|(_, parent)| parent == of)).collect()
}

fn kubectl<S: AsRef<OsStr>>(args: &[S]) -> Option<Vec<u8>> {
    let output = Command::new("kubectl").args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

/// What it prints, also where it could not do all that was asked.
fn output<S: AsRef<OsStr>>(args: &[S]) -> Vec<u8> {
    let output = Command::new("kubectl").args(args).stdin(Stdio::null()).stderr(Stdio::null()).output();
    output.map(|output| output.stdout).unwrap_or_default()
}
