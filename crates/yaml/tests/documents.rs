//! Whole documents: what is reported, where, all at once, and that nothing hangs or panics.

use proptest::prelude::*;
use yaml::{At, Diagnostics, Kind, Source, read};

#[derive(Debug, PartialEq)]
struct Pet {
    name: String,
    legs: u64,
    tags: Vec<String>,
}

fn pet(at: At<'_>) -> Option<Pet> {
    let fields = at.fields("pet", &["name", "legs", "tags", "note"])?;
    let name = fields.required("name").and_then(|at| at.text());
    let legs = fields.required("legs").and_then(|at| at.unsigned(0, 8));
    let tags = fields.or("tags", Vec::new(), |at| {
        let items = at.nonempty_list("at least one tag")?;
        items.iter().map(At::text).collect()
    });
    Some(Pet { name: name?, legs: legs?, tags: tags? })
}

fn errors(text: &str) -> Diagnostics {
    read(&Source::new("pet.yaml", text), pet).expect_err("an invalid document")
}

/// Each expected line is `line:column part of the message`.
#[track_caller]
fn assert_errors(text: &str, expected: &[&str]) {
    let found = errors(text);
    let shown = found.to_string();
    assert_eq!(found.len(), expected.len(), "for {text:?}:\n{shown}");
    for (one, expected) in found.iter().zip(expected) {
        let (place, part) = expected.split_once(' ').expect("place and part");
        let (line, column) = one.location().unwrap_or_default();
        assert_eq!(format!("{line}:{column}"), place, "place of {one}\nin {text:?}:\n{shown}");
        assert!(one.to_string().contains(part), "{part:?} is not in {one}");
    }
}

#[test]
fn a_sound_document_is_read() {
    let source = Source::new("pet.yaml", "\u{feff}# a pet\nname: rex\r\nlegs: 4\r\ntags: [&t dog, *t]\r\n");
    let tags = vec!["dog".to_owned(), "dog".to_owned()];
    assert_eq!(read(&source, pet), Ok(Pet { name: "rex".into(), legs: 4, tags }));
}

#[test]
fn every_error_is_reported_at_once() {
    assert_errors(
        "nam: rex\nlegs: four\ntags: []\ntags: [a]\n",
        &[
            "1:1 did you mean `name`?",
            "1:1 a pet needs the key `name`",
            "2:7 expected a whole number, found the text `four`",
            "3:7 this list is empty",
            "4:1 the key `tags` is here twice",
        ],
    );
}

#[test]
fn a_tab_hides_nothing_else() {
    assert_errors(
        "name: rex\ntags:\n\t- a\n\t- b\nlegs: four\ncolour: red\n",
        &["3:1 indented with a tab", "4:1 replace the tab", "5:7 whole number", "6:1 unknown key `colour`"],
    );
    assert_errors("name: rex\ntags:\n  - a\n\t- b\nlegs: 4\n", &["4:1 tab"]);
    // The parser notices this tab only behind what stands above it.
    assert_errors(
        "tags: []\nname: 5\n\tlegs: 9\n",
        &["1:7 list is empty", "2:7 put it in quotes", "3:1 tab", "3:8 from 0 to 8"],
    );
    assert_errors("legs: 1\nname: [a,\n\tb]\nx: 1\n", &["2:7 found a list", "4:1 unknown key"]);
    assert_errors("\tname: rex\nlegs: 9\n", &["1:1 tab", "2:7 from 0 to 8"]);
}

#[test]
fn reading_goes_on_after_syntax_errors() {
    assert_errors(
        "name: a: b\nlegs: [1, 2\ntags: [x\nnote: \"open\n",
        &["1:8 second `: `", "2:7 `[` is never closed", "3:7 `[` is never closed", "4:7 quote is never closed"],
    );
    assert_errors("name: rex\nlegs: @4\nfoo: 1\n", &["2:7 cannot start with this", "3:1 unknown key `foo`"]);
}

#[test]
fn wrong_shapes_say_what_is_expected() {
    assert_errors("- a\n- b\n", &["1:1 expected a pet as `key: value` lines, found a list"]);
    assert_errors("just text\n", &["1:1 the keys name, legs"]);
    assert_errors(
        "name: 1.0\nlegs: 1.5\ntags: x\n",
        &["1:7 put it in quotes: \"1.0\"", "2:7 from 0 to 8", "3:7 write `[x]`"],
    );
    assert_errors(
        "name:\nlegs:\ntags:\n",
        &["1:1 expected text, found nothing", "2:1 whole number", "3:1 list is empty"],
    );
    assert_errors("name: [a, b]\nlegs: {a: 1}\n", &["1:7 found a list", "2:7 found a mapping"]);
}

#[test]
fn empty_files_say_so() {
    for text in ["", "\n \n"] {
        assert_eq!(errors(text).to_string(), "pet.yaml:1:1: the file is empty");
    }
    assert_errors("# only a comment\n", &["1:1 found nothing"]);
    assert_errors("---\nname: a\nlegs: 1\n---\nname: b\n", &["5:1 a second document"]);
}

#[test]
fn odd_yaml_is_refused_in_words() {
    assert_errors("name: rex\nlegs: 4\n<<: {note: x}\n", &["3:1 merge keys"]);
    assert_errors("name: !cat rex\nlegs: 4\n", &["1:12 the tag `!cat`"]);
    assert_errors("name: rex\nlegs: .inf\n", &["2:7 not a number that can be used"]);
    assert_errors("name: rex\nlegs: 4\n? [a]\n: 1\n", &["3:3 a key must be"]);
    assert_errors("name: *nobody\nlegs: 4\n", &["1:7 there is no anchor `&nobody`"]);
    assert_errors("name: rex\nlegs: 4\ntags: &a [*a]\n", &["3:11 inside the value that it refers to"]);
}

#[test]
fn an_alias_bomb_is_reported_once_and_beside_the_rest() {
    let mut text = String::from("legs: x\na0: &a0 [lol]\n");
    for level in 1..12 {
        let refs = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
    }
    let found = errors(&text);
    let shown = found.to_string();
    assert_eq!(shown.matches("alias bomb").count(), 1, "{shown}");
    assert!(shown.contains("pet.yaml:1:7: expected a whole number"), "{shown}");
    assert!(shown.contains("needs the key `name`"), "{shown}");
}

#[test]
fn deep_nesting_ends_in_an_error() {
    for text in [format!("name: {}", "[".repeat(100_000)), "- ".repeat(50_000), "a: {".repeat(20_000)] {
        let shown = errors(&text).to_string();
        assert!(shown.contains("deep"), "{}", &shown[..shown.len().min(300)]);
    }
}

#[test]
fn large_documents_end_in_an_error() {
    let many = format!("name: [{}]\n", "1,".repeat(300_000));
    assert!(errors(&many).to_string().contains("more than 200000 values"));
    let nested: String = (0..60).map(|i| format!("&x{i} [")).collect();
    let anchors = format!("name: {nested}{}{}\n", "1,".repeat(100_000), "]".repeat(60));
    assert!(errors(&anchors).to_string().contains("values"));
    let keys: String = (0..50_000).map(|i| format!("k{}: 1\n", i % 2)).collect();
    assert!(errors(&keys).len() < 1_000, "errors are bounded");
}

#[test]
fn errors_inside_text_point_into_the_source() {
    let text = "note: >-\n  one == two &&\n  three = four\nname: 'it''s'\n";
    let found = read(&Source::new("x", text), |at| {
        let fields = at.fields("pet", &["note", "name"])?;
        let note = fields.required("note")?;
        let start = note.str()?.find("= four")?;
        let _: Option<()> = note.error_in_text(start..start + 1, "no such operator", None);
        let name = fields.required("name")?;
        name.error_in_text::<()>(3..4, "an s", None)
    })
    .expect_err("two errors");
    let places: Vec<_> = found.iter().map(|one| one.location()).collect();
    assert_eq!(places, [Some((3, 9)), Some((4, 12))], "{found}");
}

#[test]
fn streams_of_documents_become_json() {
    let source = Source::new("w.yaml", "---\nkind: A\n---\n# nothing\n---\nkind: B\nport: 8080\n");
    let all = yaml::to_json_all(&source).expect("two documents");
    assert_eq!(all, [serde_json::json!({"kind": "A"}), serde_json::json!({"kind": "B", "port": 8080})]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|\n|\t| |: |- |\\[|\\{|&a |\\*a|\"|'|\\||>|#){0,60}") {
        let source = Source::new("x", &text);
        let parsed = yaml::parse(&source);
        for one in &parsed.diagnostics {
            prop_assert!(one.span.as_ref().is_none_or(|s| s.end <= source.text.len() && source.text.is_char_boundary(s.start) && source.text.is_char_boundary(s.end)));
        }
        let _ = yaml::Diagnostics::new(parsed.diagnostics).pretty(false);
        let _ = read(&source, pet);
    }

    #[test]
    fn json_is_read_as_it_is(value in json()) {
        let source = Source::new("x", serde_json::to_string_pretty(&value).expect("json"));
        let parsed = yaml::parse(&source);
        prop_assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
        prop_assert_eq!(parsed.root.to_json(), value);
    }

    #[test]
    fn a_broken_line_never_hides_a_later_unknown_key(line in "(\t- a|x: y: z|- b|\\]|\\}|\"open|  bad indent|@x|%y)") {
        let text = format!("name: rex\ntags:\n{line}\nlegs: 4\nzzz: 1\n");
        let shown = errors(&text).to_string();
        prop_assert!(shown.contains("unknown key `zzz`") || line.starts_with('"') , "{}\n{}", text, shown);
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[ -~äöü]{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn a_tree_knows_its_places() {
    let source = Source::new("x", "a:\n  - b: 1\n");
    let parsed = yaml::parse(&source);
    let Kind::Map(map) = &parsed.root.kind else { panic!("a mapping") };
    assert_eq!(&source.text[map.entries[0].key_span.clone()], "a");
    let Kind::List(list) = &map.entries[0].value.kind else { panic!("a list") };
    let Kind::Map(inner) = &list.items[0].kind else { panic!("a mapping") };
    assert_eq!(&source.text[inner.entries[0].value.span.clone()], "1");
}
