//! The commit that a run was started on, read without starting git.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// The commit of the repository that holds this folder, where there is one.
pub(crate) fn commit(folder: &Path) -> Option<String> {
    let git = folder.ancestors().map(|folder| folder.join(".git")).find(|git| git.exists())?;
    let git = if git.is_file() { linked(&git)? } else { git };
    let head = read_to_string(git.join("HEAD")).ok()?;
    let Some(name) = head.strip_prefix("ref: ") else { return hash(&head) };
    // A linked worktree has a HEAD of its own, and its branches where the repository is.
    let common = read_to_string(git.join("commondir")).map_or(git.clone(), |common| git.join(common.trim()));
    let loose = read_to_string(common.join(name.trim())).ok().and_then(|text| hash(&text));
    loose.or_else(|| packed(&common, name.trim()))
}

/// `.git` of a linked worktree or submodule is a file that says where.
fn linked(file: &Path) -> Option<PathBuf> {
    let text = read_to_string(file).ok()?;
    let path = Path::new(text.strip_prefix("gitdir: ")?.trim());
    Some(file.parent()?.join(path))
}

fn packed(git: &Path, name: &str) -> Option<String> {
    let text = read_to_string(git.join("packed-refs")).ok()?;
    text.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').and_then(hash))
}

fn hash(text: &str) -> Option<String> {
    let text = text.trim();
    (text.len() >= 40 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loose_packed_and_detached_heads_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let (git, deep) = (folder.path().join(".git"), folder.path().join("a/b"));
        std::fs::create_dir_all(git.join("refs/heads")).expect("made");
        std::fs::create_dir_all(&deep).expect("made");
        let write = |name: &str, text: &str| std::fs::write(git.join(name), text).expect("written");
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        write("HEAD", "ref: refs/heads/main\n");
        assert_eq!(commit(&deep), None, "no commit yet");
        write("packed-refs", &format!("# pack-refs\n{two} refs/heads/not-main\n{one} refs/heads/main\n"));
        assert_eq!(commit(&deep), Some(one.clone()));
        write("refs/heads/main", &format!("{two}\n"));
        assert_eq!(commit(&deep), Some(two));
        write("HEAD", &format!("{one}\n"));
        assert_eq!(commit(&deep), Some(one));
    }
}
