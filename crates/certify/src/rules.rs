//! The rules of equivalence, read from `rules.yaml`, where they are explained.

use std::collections::HashMap;
use std::sync::LazyLock;

use yaml::{At, Source};

/// The file itself, for those who want to show it.
pub const RULES: &str = include_str!("rules.yaml");

static STANDARD: LazyLock<Rules> =
    LazyLock::new(|| Rules::read(RULES).expect("rules.yaml is part of the program, and a test reads it"));

/// A word, or the beginning of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl Pattern {
    /// Whether the word is meant.
    pub(crate) fn matches(&self, word: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => word.starts_with(beginning),
            None => word == self.0,
        }
    }

    /// What the word begins with, when it is meant.
    pub(crate) fn beginning<'a>(&self, word: &'a str) -> Option<&'a str> {
        self.matches(word).then(|| &word[..self.0.trim_end_matches('*').len()])
    }
}

/// A place in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) Vec<String>);

impl Place {
    /// As the sections of an object are named: `spec.ports.*.nodePort`.
    pub(crate) fn section(&self) -> String {
        self.0.join(".")
    }
}

/// Items of a list that are not compared.
#[derive(Clone, Debug)]
pub(crate) struct Entries {
    pub(crate) list: Place,
    pub(crate) key: String,
    pub(crate) like: Pattern,
}

/// What a controller keeps of its past.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// The kind of the controller; `*` for any.
    pub(crate) of: String,
    pub(crate) when_zero: Option<String>,
}

/// What is special about one kind. The words are explained in `rules.yaml`.
#[derive(Clone, Debug, Default)]
pub(crate) struct KindRules {
    pub(crate) labels: Vec<Pattern>,
    pub(crate) annotations: Vec<Pattern>,
    pub(crate) never: Vec<Place>,
    pub(crate) filled: Vec<Place>,
    pub(crate) entries: Vec<Entries>,
    pub(crate) generated: Vec<Pattern>,
    pub(crate) at_least: Vec<Place>,
    pub(crate) desired: Option<Place>,
    pub(crate) replaceable: bool,
    pub(crate) history: Option<History>,
    pub(crate) mirrors: Option<(String, String)>,
    pub(crate) written_by: Option<(String, Pattern)>,
    pub(crate) provided: Vec<String>,
    pub(crate) refers: Vec<Place>,
    pub(crate) hosted: Option<Place>,
}

impl KindRules {
    /// Places whose numbers are kept besides the digests.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = &Place> {
        self.at_least.iter().chain(&self.desired)
    }

    /// Whether a section was filled in by the cluster.
    pub(crate) fn is_filled(&self, section: &str) -> bool {
        self.filled.iter().any(|place| place.section() == section)
    }
}

/// All rules.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) version: u32,
    ignored: Vec<String>,
    pub(crate) labels: Vec<Pattern>,
    pub(crate) annotations: Vec<Pattern>,
    kinds: HashMap<String, KindRules>,
    none: KindRules,
}

impl Rules {
    /// Those of this version of the program.
    pub(crate) fn standard() -> &'static Self {
        &STANDARD
    }

    pub(crate) fn read(text: &str) -> Result<Self, yaml::Diagnostics> {
        yaml::read(&Source::new("rules.yaml", text), |at| {
            let fields = at.fields("set of rules", &["version", "ignored", "labels", "annotations", "kinds"])?;
            let version = fields.required("version")?.unsigned(1, 1_000)?;
            let ignored = fields.list("ignored", |at| {
                let fields = at.fields("group of ignored kinds", &["kinds", "because"])?;
                fields.required("because")?.nonempty()?;
                fields.required("kinds")?.texts()
            })?;
            let mut kinds = HashMap::new();
            for (name, _, at) in fields.required("kinds")?.entries()? {
                kinds.insert(name.to_owned(), kind(&at)?);
            }
            Some(Self {
                version: u32::try_from(version).ok()?,
                ignored: ignored.concat(),
                labels: fields.list("labels", pattern)?,
                annotations: fields.list("annotations", pattern)?,
                kinds,
                none: KindRules::default(),
            })
        })
    }

    /// Whether objects of this kind are never looked at.
    pub(crate) fn ignores(&self, group: &str, resource: &str) -> bool {
        let kind = qualified(group, resource);
        self.ignored.iter().any(|ignored| match ignored.strip_prefix("*.") {
            Some(whole_group) => whole_group == group,
            None => *ignored == kind,
        })
    }

    /// What is special about this kind.
    pub(crate) fn kind(&self, group: &str, resource: &str) -> &KindRules {
        self.kinds.get(&qualified(group, resource)).unwrap_or(&self.none)
    }
}

/// `deployments.apps`, `pods`.
pub(crate) fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

fn pattern(at: &At<'_>) -> Option<Pattern> {
    at.nonempty().map(Pattern)
}

fn place(at: &At<'_>) -> Option<Place> {
    let text = at.nonempty()?;
    let Some(steps) = text.strip_prefix('/') else {
        return at.error_with_help("this is no JSON pointer", format!("write `/{}`", text.replace('.', "/")));
    };
    Some(Place(steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()))
}

fn kind(at: &At<'_>) -> Option<KindRules> {
    let fields = at.fields(
        "kind's rules",
        &[
            "labels",
            "annotations",
            "never",
            "filled",
            "entries",
            "generated",
            "at_least",
            "desired",
            "replaceable",
            "history",
            "mirrors",
            "written_by",
            "provided",
            "refers",
            "hosted",
        ],
    )?;
    Some(KindRules {
        labels: fields.list("labels", pattern)?,
        annotations: fields.list("annotations", pattern)?,
        never: fields.list("never", place)?,
        filled: fields.list("filled", place)?,
        entries: fields.list("entries", |at| {
            let fields = at.fields("entry rule", &["list", "key", "like"])?;
            Some(Entries {
                list: place(&fields.required("list")?)?,
                key: fields.required("key")?.nonempty()?,
                like: pattern(&fields.required("like")?)?,
            })
        })?,
        generated: fields.list("generated", pattern)?,
        at_least: fields.list("at_least", place)?,
        desired: fields.maybe("desired", |at| place(&at))?,
        replaceable: fields.or("replaceable", false, |at| at.bool())?,
        history: fields.maybe("history", |at| {
            let fields = at.fields("history rule", &["of", "when_zero"])?;
            let when_zero = fields.maybe("when_zero", |at| place(&at))?;
            Some(History { of: fields.required("of")?.nonempty()?, when_zero: when_zero.map(|place| place.section()) })
        })?,
        mirrors: fields.maybe("mirrors", |at| {
            let fields = at.fields("mirror rule", &["of", "with"])?;
            Some((fields.required("of")?.nonempty()?, fields.required("with")?.nonempty()?))
        })?,
        written_by: fields.maybe("written_by", |at| {
            let fields = at.fields("writer rule", &["label", "like"])?;
            Some((fields.required("label")?.nonempty()?, pattern(&fields.required("like")?)?))
        })?,
        provided: fields.list("provided", At::nonempty)?,
        refers: fields.list("refers", place)?,
        hosted: fields.maybe("hosted", |at| place(&at))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_read_and_know_our_own_stamps() {
        let rules = Rules::read(RULES).unwrap();
        assert_eq!(rules.version, 1);
        assert!(rules.labels.iter().any(|label| label.matches(gate::LABEL)));
        assert!(rules.labels.iter().any(|label| label.matches(gate::NONCE)));
        assert!(rules.ignores("", "events") && rules.ignores("metrics.k8s.io", "pods"));
        assert!(!rules.ignores("", "pods") && !rules.ignores("k8s.io", "events"));
        assert!(rules.kind("", "pods").replaceable);
        assert!(rules.kind("", "services").is_filled("spec.ports.*.nodePort"));
    }

    #[test]
    fn a_history_that_depends_on_a_number_has_that_number_kept() {
        let rules = Rules::read(RULES).unwrap();
        for (name, kind) in &rules.kinds {
            if let Some(number) = kind.history.as_ref().and_then(|history| history.when_zero.as_ref()) {
                assert!(kind.numbers().any(|place| place.section() == *number), "{name}");
            }
        }
    }

    #[test]
    fn a_rule_that_nobody_knows_is_an_error() {
        let error = Rules::read("version: 1\nkinds:\n  pods:\n    replacable: true\n").unwrap_err().to_string();
        assert!(error.contains("did you mean `replaceable`?"), "{error}");
        let error = Rules::read("version: 1\nkinds:\n  pods:\n    never: [spec.nodeName]\n").unwrap_err().to_string();
        assert!(error.contains("write `/spec/nodeName`"), "{error}");
    }
}
