//! What `kind` says, and what it means. It has one exit code for all that can go wrong, and prints `ERROR: …` with the
//! chain of causes, then the output of the command that failed: `cmd/kind/app/main.go` (`logError`) of
//! github.com/kubernetes-sigs/kind, read at v0.33.

use crate::ProvisionError;

use super::program::Ended;

/// Characters that are shown.
const SHOWN: usize = 1500;
/// Lines that are shown where there is no `ERROR:`.
const LINES: usize = 6;

/// Messages of `create.go`, `providers/*/provider.go` and `docker/util.go`, and of the engines' own clients, when kind
/// gets no answer from its container engine, before it has made anything.
const ENGINE: &[&str] = &[
    "failed to get docker info",
    "failed to get podman info",
    "failed to get nerdctl info",
    "failed to list nodes",
    "failed to list clusters",
    "error listing nodes",
    "Cannot connect to the Docker daemon",
    "permission denied while trying to connect to the Docker",
    "executable file not found in $PATH",
    "running kind with rootless provider requires",
];

/// Why `kind create cluster` failed.
pub(crate) fn create_failed(name: &str, ended: &Ended) -> ProvisionError {
    let said = ended.said.clone();
    // `alreadyExists` in create.go.
    if said.contains("node(s) already exist for a cluster with the name") {
        return ProvisionError::NameTaken { name: name.to_owned() };
    }
    if no_engine(&said) {
        return ProvisionError::Engine { said };
    }
    // `pull` in providers/*/images.go.
    if said.contains("failed to pull image") {
        return ProvisionError::Image { said };
    }
    ProvisionError::CreateFailed { name: name.to_owned(), how: ended.how(), said }
}

/// Why `kind delete cluster` failed.
pub(crate) fn delete_failed(name: &str, ended: &Ended) -> ProvisionError {
    let said = ended.said.clone();
    if said.is_empty() {
        return ProvisionError::DeleteFailed { name: name.to_owned(), said: ended.how() };
    }
    ProvisionError::DeleteFailed { name: name.to_owned(), said }
}

fn no_engine(said: &str) -> bool {
    ENGINE.iter().any(|message| said.contains(message))
}

/// The end of what a program said, in one line without control characters: from its last `ERROR:` on, else some lines.
pub(crate) fn last_words(text: &str) -> String {
    let plain = plain(text);
    let lines: Vec<&str> = plain.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let error = lines.iter().rposition(|line| line.starts_with("ERROR:"));
    let from = error.unwrap_or(lines.len().saturating_sub(LINES));
    let said = lines[from..].join(" | ");
    let said = said.strip_prefix("ERROR:").map_or(said.as_str(), str::trim_start);
    match said.char_indices().nth(SHOWN) {
        // The cause stands at the beginning, the engine's own words at the end.
        Some(_) => {
            let characters: Vec<char> = said.chars().collect();
            let (head, tail) = (&characters[..SHOWN / 2], &characters[characters.len() - SHOWN / 2..]);
            format!("{} … {}", head.iter().collect::<String>(), tail.iter().collect::<String>())
        }
        None => said.to_owned(),
    }
}

/// Without escape sequences and control characters.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                // A CSI sequence ends with a letter or one of a few signs.
                if characters.as_str().starts_with('[') {
                    characters.by_ref().skip(1).find(|c| ('\u{40}'..='\u{7e}').contains(c));
                }
            }
            '\n' | '\r' => plain.push('\n'),
            '\t' => plain.push(' '),
            other if other.is_control() => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn failed(stderr: &str) -> ProvisionError {
        let ended = Ended { status: ExitStatus::from_raw(256), stdout: String::new(), said: last_words(stderr) };
        create_failed("n", &ended)
    }

    /// Printed by kind for others: kubernetes-sigs/kind issues 1410, 2247; ByConity/byconity-deploy issue 14.
    #[test]
    fn what_kind_prints_is_told_apart() {
        let engine = "ERROR: failed to create cluster: failed to list nodes: command \"docker ps -a --filter \
                      label=io.x-k8s.kind.cluster=n --format '{{.Names}}'\" failed with error: exit status 1\n\nCommand \
                      Output: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon \
                      running?\n";
        assert!(matches!(failed(engine), ProvisionError::Engine { said }
            if said.contains("Is the docker daemon running?") && said.starts_with("failed to create cluster")));
        let taken = "ERROR: failed to create cluster: node(s) already exist for a cluster with the name \"n\"\n";
        assert!(matches!(failed(taken), ProvisionError::NameTaken { .. }));
        let image = "Creating cluster \"n\" ...\n \u{1b}[32m✗\u{1b}[0m Ensuring node image (kindest/node:v9) 🖼 \nERROR: \
                     failed to create cluster: failed to pull image \"kindest/node:v9\": command \"docker pull \
                     kindest/node:v9\" failed with error: exit status 1\n\nCommand Output: Error response from daemon: \
                     manifest for kindest/node:v9 not found\n";
        assert!(matches!(failed(image), ProvisionError::Image { said } if !said.contains("Ensuring")));
        let other = "Creating cluster \"n\" ...\n ✗ Starting control-plane 🕹️\nERROR: failed to create cluster: failed to \
                     init node with kubeadm: exit status 1\n";
        let error = failed(other);
        assert!(matches!(&error, ProvisionError::CreateFailed { how, .. } if how == "exit code 1"), "{error:?}");
        assert!(!error.is_input());
        assert!(matches!(failed(""), ProvisionError::CreateFailed { .. }));
    }

    #[test]
    fn last_words_are_short_and_plain() {
        assert_eq!(last_words("a\x1b[1mb\x1b[0m\x07\r\nc\td\n\n"), "ab | c d");
        assert_eq!(last_words("x\x1b"), "x");
        let long = format!("ERROR: begin {} end", "é".repeat(5000));
        let short = last_words(&long);
        assert!(short.starts_with("begin") && short.ends_with("end") && short.chars().count() < 1600);
        assert_eq!(last_words("1\n2\n3\n4\n5\n6\n7\n8\n"), "3 | 4 | 5 | 6 | 7 | 8");
    }
}
