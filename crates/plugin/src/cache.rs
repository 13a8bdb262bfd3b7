//! Compiled components on disk, by digest and engine configuration. A file is used only when it is ours alone and its bytes
//! have the hash that stands at its head: compiled code is trusted, so it must be the code that we wrote.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

const HASH_LENGTH: usize = 32;

/// A directory of compiled components.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Opens the directory, making it when it is not there. None when it cannot be ours alone: then nothing is cached.
    pub(crate) fn open(dir: &Path) -> Option<Self> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        let ours = made.and_then(|()| fs::symlink_metadata(dir)).map(|found| found.is_dir() && is_ours_alone(&found));
        match ours {
            Ok(true) => Some(Self { dir: dir.to_owned() }),
            Ok(false) => {
                tracing::warn!("{} is writable by others; compiled components are not cached there", dir.display());
                None
            }
            Err(error) => {
                tracing::warn!("{}: {error}; compiled components are not cached", dir.display());
                None
            }
        }
    }

    /// The compiled component, when it is there and whole.
    pub(crate) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(engine, digest);
        let found = fs::symlink_metadata(&path).ok()?;
        if !found.is_file() || !is_ours_alone(&found) {
            return None;
        }
        let bytes = fs::read(&path).ok()?;
        let (hash, code) = bytes.split_at_checked(HASH_LENGTH)?;
        if Sha256::digest(code).as_slice() != hash {
            tracing::warn!("{} is damaged and is made again", path.display());
            return None;
        }
        // SAFETY: the bytes are what `store` wrote: the file and its directory belong to this user and nobody else may write
        // them, and the hash of the whole is right. wasmtime itself checks version and configuration.
        #[allow(unsafe_code, reason = "the only way to use code that was compiled before")]
        let loaded = unsafe { Component::deserialize(engine, code) };
        loaded.inspect_err(|error| tracing::debug!("{}: {error:#}", path.display())).ok()
    }

    /// Keeps a compiled component. A cache that cannot be written makes the next start slower, nothing else.
    pub(crate) fn store(&self, engine: &Engine, digest: &str, component: &Component) {
        let path = self.path(engine, digest);
        let written = component.serialize().map_err(|error| format!("{error:#}")).and_then(|code| {
            let mut bytes = Sha256::digest(&code).to_vec();
            bytes.extend_from_slice(&code);
            write_whole(&path, &bytes).map_err(|error| error.to_string())
        });
        if let Err(error) = written {
            tracing::warn!("{}: {error}", path.display());
        }
    }

    fn path(&self, engine: &Engine, digest: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
        self.dir.join(format!("{digest}-{:016x}.cwasm", hasher.finish()))
    }
}

fn is_ours_alone(found: &fs::Metadata) -> bool {
    found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0
}

/// Readers see the old file or the new one, never half of one.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    static COUNTER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let unique = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{unique}.tmp", std::process::id()));
    let result = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        fs::rename(&temporary, path)
    })();
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}
