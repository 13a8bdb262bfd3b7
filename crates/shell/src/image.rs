//! The images that the simulated registries have: what they run, listen on, serve and need.

use crate::files::Files;

/// A parsed image reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// `docker.io`.
    pub registry: String,
    /// `library/busybox`.
    pub repository: String,
    /// `1.36`; `latest` where none was given.
    pub tag: String,
    /// `sha256:...`, where one was given.
    pub digest: Option<String>,
}

impl Reference {
    /// Parses as the container runtime does.
    ///
    /// # Errors
    /// [`ImageError::Invalid`] with the words of the runtime.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let invalid = |detail: &str| ImageError::Invalid {
            message: format!("couldn't parse image name \"{text}\": invalid reference format{detail}"),
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (rest, "latest"),
        };
        let tag_ok = !tag.is_empty()
            && tag.len() <= 128
            && tag
                .bytes()
                .enumerate()
                .all(|(i, b)| b.is_ascii_alphanumeric() || b == b'_' || (i > 0 && matches!(b, b'.' | b'-')));
        let digest_ok = digest.as_ref().is_none_or(|d| {
            d.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
        });
        let (registry, repository) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
                (host.to_owned(), path.to_owned())
            }
            Some(_) => ("docker.io".to_owned(), name.to_owned()),
            None => ("docker.io".to_owned(), format!("library/{name}")),
        };
        let component_ok = |component: &str| {
            let bytes = component.as_bytes();
            let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            edge(bytes.first())
                && edge(bytes.last())
                && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
        };
        if tag_ok && digest_ok && repository.split('/').all(component_ok) {
            return Ok(Self { registry, repository, tag: tag.to_owned(), digest });
        }
        let lower = repository.to_ascii_lowercase();
        if tag_ok && digest_ok && lower != repository && lower.split('/').all(component_ok) {
            return Err(invalid(&format!(": repository name ({repository}) must be lowercase")));
        }
        Err(invalid(""))
    }

    /// `docker.io/library/busybox:1.36`.
    pub fn canonical(&self) -> String {
        match &self.digest {
            Some(digest) => format!("{}/{}@{digest}", self.registry, self.repository),
            None => format!("{}/{}:{}", self.registry, self.repository, self.tag),
        }
    }
}

/// Why there is no such image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Not a reference.
    #[error("{message}")]
    Invalid {
        /// As the kubelet words it.
        message: String,
    },
    /// The registry does not have it, or there is no such registry.
    #[error("{message}")]
    NotFound {
        /// As the container runtime words it.
        message: String,
    },
}

/// An image: what the runtime knows of it.
#[derive(Clone, Debug)]
pub struct Image {
    /// `docker.io/library/busybox:1.36`.
    pub name: String,
    /// `docker.io/library/busybox@sha256:...`.
    pub id: String,
    /// Bytes, as reported by the node.
    pub size: u64,
    /// Entrypoint.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub cmd: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub working_dir: String,
    /// Memory that the main program takes, in bytes.
    pub memory: u64,
    /// User that it runs as.
    pub user: u32,
    family: &'static Family,
}

/// What a program name stands for in a container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Program {
    Known(String),
    Script(String),
    NotExecutable,
    Missing,
}

/// Images of one repository.
#[derive(Debug)]
struct Family {
    registry: &'static str,
    repository: &'static str,
    tags: fn(&str) -> bool,
    entrypoint: &'static [&'static str],
    cmd: &'static [&'static str],
    working_dir: &'static str,
    env: &'static [(&'static str, &'static str)],
    memory_kib: u64,
    size: u64,
    digest: Option<&'static str>,
    user: u32,
    tools: Tools,
    programs: &'static [&'static str],
    files: &'static [(&'static str, &'static str)],
}

/// Which everyday programs an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tools {
    /// All of busybox.
    Busybox,
    /// A shell and the GNU tools; neither wget nor nc nor httpd.
    Debian,
    /// No shell at all.
    None,
}

const PAGE: &str = "<!DOCTYPE html>\n<html>\n<head>\n<title>Welcome to nginx!</title>\n</head>\n<body>\n<h1>Welcome to nginx!</h1>\n</body>\n</html>\n";

/// Versions `1.2.3` whose first numbers are among these.
fn version_in(tag: &str, versions: &[&str]) -> bool {
    versions.iter().any(|v| {
        tag.strip_prefix(v).is_some_and(|rest| {
            rest.is_empty()
                || rest.strip_prefix('.').is_some_and(|patch| {
                    !patch.is_empty() && patch.len() < 3 && patch.bytes().all(|b| b.is_ascii_digit())
                })
        })
    })
}

fn variant<'a>(tag: &'a str, suffixes: &[&str]) -> &'a str {
    suffixes.iter().find_map(|suffix| tag.strip_suffix(suffix)).unwrap_or(tag)
}

fn busybox_tag(tag: &str) -> bool {
    let version = variant(tag, &["-musl", "-glibc", "-uclibc"]);
    matches!(version, "latest" | "stable" | "unstable" | "musl" | "glibc" | "uclibc" | "1")
        || version_in(version, &["1.28", "1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"])
}

fn alpine_tag(tag: &str) -> bool {
    matches!(tag, "latest" | "edge" | "3")
        || version_in(tag, &["3.16", "3.17", "3.18", "3.19", "3.20", "3.21", "3.22", "3.23"])
}

fn nginx_tag(tag: &str) -> bool {
    let version = variant(tag, &["-alpine", "-alpine-slim", "-perl", "-bookworm", "-trixie"]);
    matches!(version, "latest" | "stable" | "mainline" | "alpine" | "1")
        || version_in(
            version,
            &[
                "1.14", "1.15", "1.16", "1.17", "1.18", "1.19", "1.20", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26",
                "1.27", "1.28", "1.29",
            ],
        )
}

fn redis_tag(tag: &str) -> bool {
    let version = variant(tag, &["-alpine", "-bookworm"]);
    matches!(version, "latest" | "alpine" | "6" | "7" | "8")
        || version_in(version, &["6.0", "6.2", "7.0", "7.2", "7.4", "8.0", "8.2", "8.4"])
}

fn httpd_tag(tag: &str) -> bool {
    let version = variant(tag, &["-alpine", "-bookworm"]);
    matches!(version, "latest" | "alpine" | "2") || version_in(version, &["2.4"])
}

fn python_tag(tag: &str) -> bool {
    let version = variant(tag, &["-slim", "-alpine", "-bookworm", "-slim-bookworm", "-trixie"]);
    matches!(version, "latest" | "slim" | "alpine" | "3")
        || version_in(version, &["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
}

const FAMILIES: &[Family] = &[
    Family {
        registry: "docker.io",
        repository: "library/busybox",
        tags: busybox_tag,
        entrypoint: &[],
        cmd: &["sh"],
        working_dir: "/",
        env: &[],
        memory_kib: 420,
        size: 2_130_715,
        digest: Some("7395754ffcee9bfe7a3fe85d4b88adf6bc81a75c5e760d06f71d38b1047c88ce"),
        user: 0,
        tools: Tools::Busybox,
        programs: &[],
        files: &[],
    },
    Family {
        registry: "docker.io",
        repository: "local/web",
        tags: |tag| matches!(tag, "1" | "2" | "3"),
        entrypoint: &[],
        cmd: &["httpd", "-f", "-p", "8080", "-h", "/www"],
        working_dir: "/",
        env: &[],
        memory_kib: 420,
        size: 2_141_032,
        digest: Some("c4697b77fee682e35b9fa0fc20ed3de80b468d9ef47fc5f717c0a3446d6c8d40"),
        user: 0,
        tools: Tools::Busybox,
        programs: &[],
        files: &[("/www/index.html", "ok\n")],
    },
    Family {
        registry: "docker.io",
        repository: "library/alpine",
        tags: alpine_tag,
        entrypoint: &[],
        cmd: &["/bin/sh"],
        working_dir: "/",
        env: &[],
        memory_kib: 480,
        size: 3_806_004,
        digest: None,
        user: 0,
        tools: Tools::Busybox,
        programs: &[],
        files: &[],
    },
    Family {
        registry: "docker.io",
        repository: "library/nginx",
        tags: nginx_tag,
        entrypoint: &["/docker-entrypoint.sh"],
        cmd: &["nginx", "-g", "daemon off;"],
        working_dir: "/",
        env: &[("NGINX_VERSION", "1.29.3")],
        memory_kib: 7_200,
        size: 59_773_829,
        digest: None,
        user: 0,
        tools: Tools::Debian,
        programs: &["nginx", "curl", "docker-entrypoint.sh"],
        files: &[
            ("/usr/share/nginx/html/index.html", PAGE),
            ("/usr/share/nginx/html/50x.html", "<h1>An error occurred.</h1>\n"),
            ("/etc/nginx/nginx.conf", "include /etc/nginx/conf.d/*.conf;\n"),
            (
                "/etc/nginx/conf.d/default.conf",
                "server {\n    listen       80;\n    location / {\n        root   /usr/share/nginx/html;\n    }\n}\n",
            ),
        ],
    },
    Family {
        registry: "docker.io",
        repository: "library/redis",
        tags: redis_tag,
        entrypoint: &["docker-entrypoint.sh"],
        cmd: &["redis-server"],
        working_dir: "/data",
        env: &[],
        memory_kib: 9_000,
        size: 45_053_160,
        digest: None,
        user: 0,
        tools: Tools::Debian,
        programs: &["redis-server", "redis-cli", "docker-entrypoint.sh"],
        files: &[],
    },
    Family {
        registry: "docker.io",
        repository: "library/httpd",
        tags: httpd_tag,
        entrypoint: &[],
        cmd: &["httpd-foreground"],
        working_dir: "/usr/local/apache2",
        env: &[],
        memory_kib: 10_000,
        size: 45_120_433,
        digest: None,
        user: 0,
        tools: Tools::Debian,
        programs: &["httpd-foreground"],
        files: &[("/usr/local/apache2/htdocs/index.html", "<html><body><h1>It works!</h1></body></html>\n")],
    },
    Family {
        registry: "docker.io",
        repository: "library/python",
        tags: python_tag,
        entrypoint: &[],
        cmd: &["python3"],
        working_dir: "/",
        env: &[],
        memory_kib: 14_000,
        size: 52_308_128,
        digest: None,
        user: 0,
        tools: Tools::Debian,
        programs: &["python", "python3"],
        files: &[],
    },
    Family {
        registry: "registry.k8s.io",
        repository: "pause",
        tags: |tag| {
            tag == "latest" || version_in(tag, &["3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8", "3.9", "3.10"])
        },
        entrypoint: &["/pause"],
        cmd: &[],
        working_dir: "/",
        env: &[],
        memory_kib: 200,
        size: 686_807,
        digest: Some("814de4ee5aa817eedb5fa704fe76fca8edfa93d0873304150a83ecfd245c8a0c"),
        user: 65_535,
        tools: Tools::None,
        programs: &["pause"],
        files: &[],
    },
    Family {
        registry: "registry.k8s.io",
        repository: "e2e-test-images/agnhost",
        tags: |tag| {
            version_in(tag, &["2"])
                || version_in(tag, &["2.39", "2.40", "2.43", "2.45", "2.47", "2.52", "2.53", "2.55", "2.56", "2.57"])
        },
        entrypoint: &["/agnhost"],
        cmd: &["pause"],
        working_dir: "/",
        env: &[],
        memory_kib: 12_000,
        size: 51_105_200,
        digest: None,
        user: 0,
        tools: Tools::Busybox,
        programs: &["agnhost"],
        files: &[],
    },
];

/// Registries that answer at all.
const REGISTRIES: [&str; 7] =
    ["docker.io", "registry.k8s.io", "ghcr.io", "quay.io", "gcr.io", "public.ecr.aws", "mcr.microsoft.com"];

/// Finds the image that a reference names.
///
/// # Errors
/// Invalid reference, or not in its registry, in the runtime's words.
pub fn resolve(text: &str) -> Result<Image, ImageError> {
    let reference = Reference::parse(text)?;
    let canonical = reference.canonical();
    let family = FAMILIES.iter().find(|f| f.registry == reference.registry && f.repository == reference.repository);
    let family = family.filter(|f| match &reference.digest {
        Some(digest) => *digest == digest_of(f, &reference.tag),
        None => (f.tags)(&reference.tag),
    });
    let Some(family) = family else {
        let head =
            format!("failed to pull and unpack image \"{canonical}\": failed to resolve reference \"{canonical}\"");
        let message = if REGISTRIES.contains(&reference.registry.as_str()) {
            format!("rpc error: code = NotFound desc = {head}: {canonical}: not found")
        } else {
            let (host, path) = (&reference.registry, &reference.repository);
            format!(
                "rpc error: code = Unknown desc = {head}: failed to do request: Head \"https://{host}/v2/{path}/manifests/{}\": dial tcp: lookup {host} on 10.96.0.10:53: no such host",
                reference.tag
            )
        };
        return Err(ImageError::NotFound { message });
    };
    let own = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    Ok(Image {
        name: canonical,
        id: format!("{}/{}@{}", reference.registry, reference.repository, digest_of(family, &reference.tag)),
        size: family.size,
        entrypoint: own(family.entrypoint),
        cmd: own(family.cmd),
        env: family.env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        working_dir: family.working_dir.to_owned(),
        memory: family.memory_kib << 10,
        user: family.user,
        family,
    })
}

/// A digest that is the same for the same tag; the recorded one where there is one.
fn digest_of(family: &Family, tag: &str) -> String {
    if let Some(digest) = family.digest {
        return format!("sha256:{digest}");
    }
    let mut hex = String::new();
    for part in 0..4_u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in family.repository.bytes().chain([b':']).chain(tag.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hex.push_str(&format!("{hash:016x}"));
    }
    format!("sha256:{hex}")
}

impl Image {
    /// The tree that a container of it starts with.
    pub(crate) fn files(&self) -> Files {
        let mut files = Files::default();
        for (path, data) in self.family.files {
            files.place(path, data.as_bytes(), false);
        }
        files
    }

    /// What a program name or path stands for.
    pub(crate) fn find(&self, program: &str, files: &Files) -> Program {
        let name = match program.rsplit_once('/') {
            None => program,
            Some((directory, name)) => {
                let known = ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", ""]
                    .contains(&directory);
                let own = self.family.programs.contains(&name);
                // The tools of an image are in its system directories, its own programs also elsewhere.
                let place = known && (own || !matches!(directory, "" | "/usr/local/bin" | "/usr/local/sbin"));
                if !place {
                    return file_program(program, files);
                }
                name
            }
        };
        if self.has(name) {
            return Program::Known(name.to_owned());
        }
        if program.contains('/') { file_program(program, files) } else { Program::Missing }
    }

    fn has(&self, name: &str) -> bool {
        if self.family.programs.contains(&name) {
            return true;
        }
        match self.family.tools {
            Tools::None => false,
            Tools::Busybox => crate::commands::is_program(name),
            Tools::Debian => {
                crate::commands::is_program(name)
                    && !matches!(name, "wget" | "nc" | "httpd" | "vi" | "busybox" | "nslookup" | "ping")
            }
        }
    }
}

/// A file in the container's own tree: scripts run, whatever else does not.
fn file_program(path: &str, files: &Files) -> Program {
    match files.read(path) {
        Ok(data) if data.starts_with(b"#!") => Program::Script(path.to_owned()),
        Ok(_) => Program::NotExecutable,
        Err("Is a directory") => Program::NotExecutable,
        Err(_) => Program::Missing,
    }
}
