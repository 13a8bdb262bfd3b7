//! The in-memory file system of one container. Contents beyond a cap are only counted, never held.

use std::collections::BTreeMap;

/// Bytes that a container's files may hold in the harness's own memory; more is counted as zeros.
const HELD: usize = 1 << 20;

/// One entry of the tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    Directory,
    File { data: Vec<u8>, zeros: u64, read_only: bool },
}

/// A tree of directories and files, by absolute normalised path.
#[derive(Clone, Debug)]
pub struct Files {
    entries: BTreeMap<String, Entry>,
    held: usize,
}

impl Default for Files {
    fn default() -> Self {
        let mut files = Self { entries: BTreeMap::new(), held: 0 };
        for directory in [
            "/",
            "/bin",
            "/dev",
            "/dev/shm",
            "/etc",
            "/home",
            "/proc",
            "/root",
            "/run",
            "/sbin",
            "/sys",
            "/tmp",
            "/usr",
            "/usr/bin",
            "/usr/local",
            "/usr/local/bin",
            "/usr/sbin",
            "/var",
            "/var/log",
            "/var/run",
        ] {
            files.entries.insert(directory.to_owned(), Entry::Directory);
        }
        files.place(
            "/etc/passwd",
            b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
            false,
        );
        files.place("/etc/resolv.conf", b"nameserver 10.96.0.10\noptions ndots:5\n", false);
        files
    }
}

impl Files {
    /// Puts a file there, with the directories above it. What a mount or an image does; read-only ones refuse writes.
    pub fn place(&mut self, path: &str, data: &[u8], read_only: bool) {
        let path = normalise("/", path);
        let mut parent = parent_of(&path);
        while parent != "/" && !self.entries.contains_key(parent) {
            self.entries.insert(parent.to_owned(), Entry::Directory);
            parent = parent_of(parent);
        }
        let kept = data.len().min(HELD.saturating_sub(self.held));
        self.held += kept;
        let zeros = (data.len() - kept) as u64;
        self.entries.insert(path, Entry::File { data: data[..kept].to_vec(), zeros, read_only });
    }

    /// An empty directory, with those above it.
    pub fn place_directory(&mut self, path: &str) {
        let path = normalise("/", path);
        let mut at = path.as_str();
        while at != "/" {
            self.entries.entry(at.to_owned()).or_insert(Entry::Directory);
            at = parent_of(at);
        }
    }

    pub(crate) fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// The content that is held.
    pub fn read(&self, path: &str) -> Result<&[u8], &'static str> {
        match self.entries.get(path) {
            Some(Entry::File { data, .. }) => Ok(data),
            Some(Entry::Directory) => Err("Is a directory"),
            None => Err("No such file or directory"),
        }
    }

    /// Size in bytes, counted zeros included.
    pub(crate) fn size(&self, path: &str) -> u64 {
        match self.entries.get(path) {
            Some(Entry::File { data, zeros, .. }) => data.len() as u64 + zeros,
            _ => 0,
        }
    }

    /// Makes it empty, or creates it.
    pub(crate) fn truncate(&mut self, path: &str) -> Result<(), &'static str> {
        let parent_is_there = matches!(self.entries.get(parent_of(path)), Some(Entry::Directory));
        match self.entries.get_mut(path) {
            Some(Entry::Directory) => Err("Is a directory"),
            Some(Entry::File { read_only: true, .. }) => Err("Read-only file system"),
            Some(Entry::File { data, zeros, .. }) => {
                self.held = self.held.saturating_sub(data.len());
                data.clear();
                *zeros = 0;
                Ok(())
            }
            None if is_read_only_tree(path) => Err("Read-only file system"),
            None if !parent_is_there => Err("No such file or directory"),
            None => {
                self.entries.insert(path.to_owned(), Entry::File { data: Vec::new(), zeros: 0, read_only: false });
                Ok(())
            }
        }
    }

    /// Adds to its end, creating it where needed.
    pub(crate) fn append(&mut self, path: &str, bytes: &[u8], more_zeros: u64) -> Result<(), &'static str> {
        if !self.entries.contains_key(path) {
            self.truncate(path)?;
        }
        match self.entries.get_mut(path) {
            Some(Entry::File { read_only: true, .. }) => Err("Read-only file system"),
            Some(Entry::File { data, zeros, .. }) => {
                let kept = if *zeros > 0 { 0 } else { bytes.len().min(HELD.saturating_sub(self.held)) };
                data.extend_from_slice(&bytes[..kept]);
                self.held += kept;
                *zeros = zeros.saturating_add((bytes.len() - kept) as u64).saturating_add(more_zeros);
                Ok(())
            }
            _ => Err("Is a directory"),
        }
    }

    pub(crate) fn make_directory(&mut self, path: &str, parents: bool) -> Result<(), &'static str> {
        if self.entries.contains_key(path) {
            return if parents { Ok(()) } else { Err("File exists") };
        }
        if is_read_only_tree(path) {
            return Err("Read-only file system");
        }
        if parents {
            self.place_directory(path);
            return Ok(());
        }
        match self.entries.get(parent_of(path)) {
            Some(Entry::Directory) => {
                self.entries.insert(path.to_owned(), Entry::Directory);
                Ok(())
            }
            Some(_) => Err("Not a directory"),
            None => Err("No such file or directory"),
        }
    }

    pub(crate) fn remove(&mut self, path: &str, recursive: bool) -> Result<(), &'static str> {
        match self.entries.get(path) {
            None => return Err("No such file or directory"),
            Some(Entry::Directory) if !recursive => return Err("Is a directory"),
            Some(Entry::File { read_only: true, .. }) => return Err("Read-only file system"),
            Some(_) => {}
        }
        let below = format!("{}/", path.trim_end_matches('/'));
        self.entries.retain(|name, _| name == "/" || (name != path && !name.starts_with(&below)));
        Ok(())
    }

    /// Names directly in a directory, sorted.
    pub(crate) fn list(&self, path: &str) -> Vec<String> {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        self.entries
            .range(prefix.clone()..)
            .take_while(|(name, _)| name.starts_with(&prefix))
            .filter_map(|(name, _)| name.strip_prefix(&prefix))
            .filter(|rest| !rest.is_empty() && !rest.contains('/'))
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn is_directory(&self, path: &str) -> bool {
        matches!(self.entries.get(path), Some(Entry::Directory))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }
}

fn is_read_only_tree(path: &str) -> bool {
    path.starts_with("/proc/") || path.starts_with("/sys/")
}

pub(crate) fn parent_of(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

/// Absolute, without `.`, `..` and double slashes.
pub(crate) fn normalise(cwd: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let start = if path.starts_with('/') { "" } else { cwd };
    for part in start.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
