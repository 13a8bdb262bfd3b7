//! New folders: each is a failure that builds and runs as it stands, for its author to change.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use model::Id;

use crate::{AuthorError, Lang};

type Files = &'static [(&'static str, &'static str)];

const YAML: Files = &[
    ("metadata.yaml", include_str!("../templates/yaml/metadata.yaml")),
    ("workload.yaml", include_str!("../templates/workload.yaml")),
    ("README.md", include_str!("../templates/yaml/README.md")),
];

const SCRIPT: Files = &[
    ("metadata.yaml", include_str!("../templates/script/metadata.yaml")),
    ("workload.yaml", include_str!("../templates/workload.yaml")),
    ("induce.sh", include_str!("../templates/script/induce.sh")),
    ("README.md", include_str!("../templates/script/README.md")),
];

const RUST: Files = &[
    ("metadata.yaml", include_str!("../templates/rust/metadata.yaml")),
    ("workload.yaml", include_str!("../templates/workload.yaml")),
    ("Cargo.toml", include_str!("../templates/rust/Cargo.toml.template")),
    ("src/lib.rs", include_str!("../templates/rust/lib.rs.template")),
    (".gitignore", "/target\n"),
    ("README.md", include_str!("../templates/rust/README.md")),
];

const C: Files = &[
    ("metadata.yaml", include_str!("../templates/rust/metadata.yaml")),
    ("workload.yaml", include_str!("../templates/workload.yaml")),
    ("src/failure.c", include_str!("../templates/c/failure.c")),
    (".gitignore", "/target\n"),
    ("README.md", include_str!("../templates/c/README.md")),
];

const JS: Files = &[
    ("metadata.yaml", include_str!("../templates/rust/metadata.yaml")),
    ("workload.yaml", include_str!("../templates/workload.yaml")),
    ("src/failure.js", include_str!("../templates/js/failure.js")),
    ("package.json", include_str!("../templates/js/package.json")),
    (".gitignore", "/target\n/node_modules\n"),
    ("README.md", include_str!("../templates/js/README.md")),
];

/// Makes the folder `<parent>/<id>` with a new failure in it, and answers the files that were written. The folder of a failure
/// in Rust holds the SDK too, so that it builds wherever it is put.
///
/// # Errors
/// When `id` is no id, the folder exists already, or cannot be written.
pub fn new(parent: &Path, id: &str, lang: Lang) -> Result<Vec<PathBuf>, AuthorError> {
    let id: Id = id.parse()?;
    let folder = parent.join(id.as_str());
    if folder.exists() {
        return Err(AuthorError::Exists(folder));
    }
    let template = match lang {
        Lang::Yaml => YAML,
        Lang::Script => SCRIPT,
        Lang::Rust => RUST,
        Lang::C => C,
        Lang::Js => JS,
    };
    let mut written = Vec::new();
    for (path, text) in template {
        let text = text.replace("{{id}}", id.as_str());
        written.push(write(&folder.join(path), &text)?);
    }
    if lang == Lang::Rust {
        for (path, text) in builtin::sdk_files() {
            written.push(write(&folder.join("sdk").join(path), text)?);
        }
        // The versions that this program's own failures were built with: known to work, and most likely downloaded already.
        written.push(write(&folder.join("Cargo.lock"), builtin::guest_lock())?);
    }
    Ok(written)
}

fn write(path: &Path, text: &str) -> Result<PathBuf, AuthorError> {
    let io = |error: std::io::Error| AuthorError::Io { path: path.to_owned(), message: error.to_string() };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io)?;
    }
    fs::write(path, text).map_err(io)?;
    if path.extension().is_some_and(|extension| extension == "sh") {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(io)?;
    }
    Ok(path.to_owned())
}
