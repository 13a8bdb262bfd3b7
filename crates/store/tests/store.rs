//! The store through its public face: what is on disk, what is in the database, and that the two agree.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::Timestamp;
use model::{
    AnswerRecord, CaseFile, CaseId, Class, ClusterKind, Column, ColumnResult, Event, EventKind, GateCounts, Id,
    Isolation, Leak, LogStream, Outcome, Phase, PhaseRecord, PhaseResult, RunFile, RunId, Totals, Usage, UsageSource,
    Verdict, Witness, WitnessKind,
};
use proptest::prelude::*;
use rusqlite::Connection;
use store::{EventTail, RunLock, Store, StoreError, Tail};

fn id(text: &str) -> Id {
    text.parse().expect("an id")
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn run(bits: u32, started: &str) -> RunFile {
    RunFile {
        schema: 1,
        run_id: RunId::from_bits(bits),
        matrix: "quickstart".to_owned(),
        matrix_digest: "sha256:00".to_owned(),
        prompt_digest: "sha256:01".to_owned(),
        harness_version: "0.1.0".to_owned(),
        scoring: 1,
        taxonomy: 1,
        started_at: at(started),
        finished_at: None,
        totals: Totals::default(),
        exit_code: None,
        acceptance: None,
        clusters: Vec::new(),
        failures: Vec::new(),
        git_commit: None,
        stopped: None,
        not_run: 0,
        left: Vec::new(),
    }
}

fn column(result: ColumnResult) -> Column {
    Column { result, decides: true, because: "it was right".to_owned(), evidence: vec![serde_json::json!({"a": 1})] }
}

fn case(failure: &str, agent: &str, outcome: Outcome) -> CaseFile {
    let class = (outcome != Outcome::Passed).then_some(Class::Agent);
    let started_at = at("2026-11-21T10:15:00Z");
    CaseFile {
        schema: 1,
        id: CaseId::new(&id("local"), &id(failure), &id(agent), 1),
        cluster: id("local"),
        cluster_kind: ClusterKind::Embedded,
        failure: id(failure),
        agent: id(agent),
        repeat: 1,
        attempt: 1,
        earlier: Vec::new(),
        control: false,
        outcome,
        class,
        status: outcome.status(class),
        rule: None,
        message: String::new(),
        started_at,
        finished_at: at("2026-11-21T10:15:04.25Z"),
        duration_ms: 4250,
        phases: vec![PhaseRecord {
            phase: Phase::Lease,
            started_at,
            duration_ms: 3,
            result: PhaseResult::Ok,
            message: None,
        }],
        witness: Some(Witness { kind: WitnessKind::Host, symptoms: Vec::new(), health_broken: Vec::new() }),
        gated: true,
        isolation: Isolation::default(),
        answer: AnswerRecord::default(),
        verdict: Some(Verdict {
            scoring: 1,
            detection: column(ColumnResult::Pass),
            localization: column(ColumnResult::Pass),
            fault_type: column(ColumnResult::Fail),
            mitigation: column(ColumnResult::None),
            safety: column(ColumnResult::Pass),
            efficiency: column(ColumnResult::None),
        }),
        usage: Usage::default(),
        gate: GateCounts { requests: 7, mutations: 1, denials: 0 },
        denied: Vec::new(),
        leaks: Vec::new(),
        artifacts: Vec::new(),
        params: Default::default(),
    }
}

fn event(run: &RunFile, seq: u64, case: Option<&CaseFile>, event: EventKind) -> Event {
    Event { seq, at: run.started_at, run: run.run_id.clone(), case: case.map(|c| c.id.clone()), event }
}

/// Every column of every table but the documents' table order: what must be the same in a rebuilt database.
fn dump(results: &Path) -> Vec<String> {
    let db = Connection::open(results.join("harness.db")).expect("the database opens");
    let mut rows = Vec::new();
    for table in ["runs", "cases", "phases", "verdict_columns", "leaks"] {
        let mut statement = db.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2, 3")).expect("the table is there");
        let width = statement.column_count();
        let mut found = statement.query([]).expect("the query runs");
        while let Some(row) = found.next().expect("a row") {
            let cells: Vec<String> = (0..width).map(|i| format!("{:?}", row.get_ref(i).expect("a cell"))).collect();
            rows.push(format!("{table}: {}", cells.join(" | ")));
        }
    }
    rows
}

fn remove_database(results: &Path) {
    for name in ["harness.db", "harness.db-wal", "harness.db-shm"] {
        let _ = fs::remove_file(results.join(name));
    }
}

#[test]
fn the_run_directory_is_laid_out_as_the_contract_says() {
    let results = tempfile::tempdir().expect("a folder");
    let store = Store::open(results.path()).expect("opens");
    let mut file = run(0xabcd_1234, "2026-11-20T23:59:59.9Z");
    let matrix = b"name: quickstart # as written\r\n\xff".as_slice();
    let mut writer = store.begin(&file, matrix).expect("begins");
    let passed = case("oom-killed", "triage", Outcome::Passed);
    writer
        .event(&event(
            &file,
            1,
            None,
            EventKind::RunStarted { matrix: "quickstart".into(), dir: "d".into(), total: 1, planned: Vec::new() },
        ))
        .expect("event");
    writer.event(&event(&file, 2, Some(&passed), EventKind::CaseStarted { index: 1, control: false })).expect("event");
    let log = EventKind::Log { stream: LogStream::Harness, line: "patching".into() };
    writer.event(&event(&file, 3, Some(&passed), log)).expect("event");
    writer.case(&passed).expect("stored");
    file.finished_at = Some(at("2026-11-21T00:00:05Z"));
    file.exit_code = Some(0);
    writer.finish(&file).expect("finishes");

    let dir = results.path().join("2026-11-20-quickstart-abcd1234");
    assert_eq!(writer.dir(), dir, "the date is that of the start, in UTC");
    assert_eq!(fs::read(dir.join("matrix.yaml")).expect("there"), matrix, "byte for byte");
    assert_eq!(serde_json::from_slice::<RunFile>(&fs::read(dir.join("run.json")).expect("there")).expect("JSON"), file);
    let events = fs::read_to_string(dir.join("events.jsonl")).expect("there");
    assert_eq!(events.lines().count(), 3);
    assert!(events.ends_with('\n'));
    let stored = fs::read(dir.join("results/local--oom-killed--triage.json")).expect("there");
    assert_eq!(serde_json::from_slice::<CaseFile>(&stored).expect("JSON"), passed);
    let orchestrator = fs::read_to_string(dir.join("logs/orchestrator.log")).expect("there");
    for line in ["local--oom-killed--triage: started, number 1", "local--oom-killed--triage: patching"] {
        assert!(orchestrator.contains(line), "{orchestrator}");
    }
    assert!(writer.log_dir(&passed.id).expect("made").is_dir());
    assert!(dir.join("artifacts").is_dir());
    for name in ["harness.db", "harness.db-wal", "harness.db-shm"] {
        let mode = fs::metadata(results.path().join(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name} is private");
    }
}

#[test]
fn a_run_id_is_found_by_prefix_and_latest_is_the_newest() {
    let results = tempfile::tempdir().expect("a folder");
    let store = Store::open(results.path()).expect("opens");
    assert!(matches!(store.run("latest"), Err(StoreError::NoRuns(_))));
    // The second differs by a fraction of a second only, which must not sort before the whole second.
    for (bits, started) in [(0xab00_0001, "2026-11-21T10:00:00Z"), (0xab00_0002, "2026-11-21T10:00:00.5Z")] {
        store.begin(&run(bits, started), b"").expect("begins");
    }
    let found = |selector: &str| store.run(selector).map(|r| r.file.run_id.to_string()).map_err(|e| e.to_string());
    assert_eq!(found("latest"), Ok("ab000002".to_owned()));
    assert_eq!(found("ab000001"), Ok("ab000001".to_owned()));
    let ambiguous = found("ab").expect_err("two begin so");
    assert!(ambiguous.contains("ab000001, ab000002"), "{ambiguous}");
    for nothing in ["", "ab1", "%", "_b000001", "ab0000011"] {
        let error = found(nothing).expect_err("no run is called so");
        assert!(error.contains("no run is called"), "{nothing}: {error}");
    }
    assert_eq!(store.runs().expect("listed").len(), 2);
}

#[test]
fn cases_come_in_expansion_order_and_a_retry_takes_the_place_of_the_first_attempt() {
    let results = tempfile::tempdir().expect("a folder");
    let store = Store::open(results.path()).expect("opens");
    let file = run(1, "2026-11-21T10:00:00Z");
    let mut writer = store.begin(&file, b"").expect("begins");
    let first = case("a", "triage", Outcome::Error);
    let second = case("b", "triage", Outcome::Passed);
    writer.event(&event(&file, 1, Some(&first), EventKind::CaseStarted { index: 1, control: false })).expect("event");
    writer.event(&event(&file, 2, Some(&second), EventKind::CaseStarted { index: 2, control: false })).expect("event");
    writer.case(&second).expect("stored");
    writer.case(&first).expect("stored");
    let retried = CaseFile { attempt: 2, ..case("a", "triage", Outcome::Failed) };
    writer.case(&retried).expect("stored");
    assert_eq!(store.cases(&file.run_id).expect("listed"), [retried.clone(), second]);
    assert_eq!(store.case(&file.run_id, "local--a--triage").expect("found"), retried);
    assert_eq!(store.case(&file.run_id, "--a--").expect("found by a part"), retried);
    let error = store.case(&file.run_id, "triage").expect_err("two have it").to_string();
    assert!(error.contains("local--a--triage, local--b--triage"), "{error}");
    let unfinished = store.run("latest").expect("found");
    assert_eq!((unfinished.file.totals.passed, unfinished.file.totals.failed), (1, 1), "totals so far");
}

#[test]
fn a_database_is_made_again_from_the_directories_and_passes_over_what_a_kill_left() {
    let results = tempfile::tempdir().expect("a folder");
    let before = {
        let store = Store::open(results.path()).expect("opens");
        let file = run(7, "2026-11-21T10:00:00Z");
        let mut writer = store.begin(&file, b"name: quickstart\n").expect("begins");
        for (index, name) in ["z", "m", "a"].into_iter().enumerate() {
            let mut one = case(name, "triage", Outcome::Failed);
            one.leaks = vec![Leak { object: "v1 Pod ns/x".into(), what: "left_over".into(), evidence: Vec::new() }];
            writer
                .event(&event(&file, 1, Some(&one), EventKind::CaseStarted { index: index as u64 + 1, control: false }))
                .expect("event");
            writer.case(&one).expect("stored");
        }
        let dir = writer.dir().to_owned();
        fs::write(dir.join("results/.partial-Xy12.json"), "{\"schema\": 1, \"id\": \"loc").expect("written");
        fs::write(dir.join("events.jsonl"), {
            let mut text = fs::read_to_string(dir.join("events.jsonl")).expect("there");
            text.push_str("{\"seq\":4,\"at\":\"2026-11-2");
            text
        })
        .expect("written");
        drop(writer);
        dump(results.path())
    };
    remove_database(results.path());
    let broken = results.path().join("2026-11-21-broken-00000009");
    fs::create_dir(&broken).expect("made");
    fs::write(broken.join("run.json"), "not JSON").expect("written");

    let store = Store::open(results.path()).expect("opens");
    assert_eq!(dump(results.path()), before, "every row comes back");
    let unreadable: Vec<String> = store.unreadable().iter().map(ToString::to_string).collect();
    assert_eq!(unreadable.len(), 1, "{unreadable:?}");
    assert!(unreadable[0].contains("2026-11-21-broken-00000009/run.json"), "{unreadable:?}");
    assert_eq!(store.run("latest").expect("found").file.totals.leaked, 3);
}

#[test]
fn a_damaged_database_is_an_error_that_names_the_file_and_the_way_out() {
    let results = tempfile::tempdir().expect("a folder");
    let path = results.path().join("harness.db");
    fs::write(&path, "this is no database, but long enough to have a header. ".repeat(40)).expect("written");
    let error = Store::open(results.path()).expect_err("refused");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()) && text.contains("Move it away"), "{text}");
    fs::remove_file(&path).expect("moved away");
    Store::open(results.path()).expect("a new one is made");
}

#[test]
fn a_damaged_page_is_an_error_and_no_panic() {
    let results = tempfile::tempdir().expect("a folder");
    {
        let store = Store::open(results.path()).expect("opens");
        let mut writer = store.begin(&run(1, "2026-11-21T10:00:00Z"), b"").expect("begins");
        writer.case(&case("a", "b", Outcome::Passed)).expect("stored");
    }
    let path = results.path().join("harness.db");
    let mut bytes = fs::read(&path).expect("there");
    let length = bytes.len();
    bytes[100..length].fill(0x5a);
    fs::write(&path, bytes).expect("written");
    let error = Store::open(results.path()).and_then(|store| store.runs()).expect_err("refused");
    assert!(error.to_string().contains("harness.db"), "{error}");
}

#[test]
fn a_newer_database_is_left_alone() {
    let results = tempfile::tempdir().expect("a folder");
    Store::open(results.path()).expect("opens");
    let path = results.path().join("harness.db");
    Connection::open(&path).expect("opens").pragma_update(None, "user_version", 99).expect("set");
    let error = Store::open(results.path()).expect_err("refused").to_string();
    assert!(error.contains("newer version") && error.contains("format 99, this version knows 1"), "{error}");
}

#[test]
fn reading_where_nothing_ran_writes_nothing() {
    let parent = tempfile::tempdir().expect("a folder");
    let results = parent.path().join("results");
    assert!(Store::open_existing(&results).expect("no error").is_none());
    assert!(!results.exists());
}

#[test]
fn many_processes_may_open_a_new_database_at_once() {
    fn is_send<T: Send>() {}
    is_send::<store::RunWriter>();
    let results = tempfile::tempdir().expect("a folder");
    std::thread::scope(|scope| {
        for bits in 0..8 {
            let results = results.path();
            scope.spawn(move || {
                let store = Store::open(results).expect("opens");
                let mut writer = store.begin(&run(bits, "2026-11-21T10:00:00Z"), b"").expect("begins");
                writer.case(&case("a", "b", Outcome::Passed)).expect("stored");
            });
        }
    });
    assert_eq!(Store::open(results.path()).expect("opens").runs().expect("listed").len(), 8);
}

#[test]
fn a_run_directory_is_never_written_twice() {
    let results = tempfile::tempdir().expect("a folder");
    let store = Store::open(results.path()).expect("opens");
    store.begin(&run(1, "2026-11-21T10:00:00Z"), b"one").expect("begins");
    let error = store.begin(&run(1, "2026-11-21T10:00:00Z"), b"two").expect_err("refused").to_string();
    assert!(error.contains("2026-11-21-quickstart-00000001"), "{error}");
    let mut hostile = run(2, "2026-11-21T10:00:00Z");
    hostile.matrix = "../../etc".to_owned();
    assert!(matches!(store.begin(&hostile, b""), Err(StoreError::Name(..))));
}

prop_compose! {
    fn any_case()(
        outcome in prop::sample::select(Outcome::ALL),
        class in prop::option::of(prop::sample::select(Class::ALL)),
        message in any::<String>(),
        lines in prop::collection::vec(any::<String>(), 0..3),
        numbers in any::<(u64, u32, bool, bool)>(),
        tokens in prop::option::of(0..u64::MAX / 2),
        cost in prop::option::of((0u32..1_000_000_000).prop_map(|micros| f64::from(micros) / 1e6)),
        seconds in -1_000_000_000i64..4_000_000_000,
    ) -> CaseFile {
        let mut one = case("oom-killed", "triage", outcome);
        one.class = class;
        one.status = outcome.status(class);
        one.message = message;
        one.duration_ms = numbers.0;
        one.attempt = numbers.1;
        one.control = numbers.2;
        one.gated = numbers.3;
        one.started_at = Timestamp::from_second(seconds).expect("in range");
        one.usage = Usage { source: UsageSource::Reported, input_tokens: tokens, cost_usd: cost, ..Usage::default() };
        one.leaks = lines.into_iter().map(|object| Leak { object, what: "changed".into(), evidence: Vec::new() }).collect();
        one
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// What is in the file is what is in the row: the document byte for byte, the columns in what they say.
    #[test]
    fn file_and_row_agree(one in any_case()) {
        let results = tempfile::tempdir().expect("a folder");
        let store = Store::open(results.path()).expect("opens");
        let file = run(1, "2026-11-21T10:00:00Z");
        let mut writer = store.begin(&file, b"").expect("begins");
        writer.case(&one).expect("stored");

        prop_assert_eq!(&store.case(&file.run_id, one.id.as_str()).expect("found"), &one);
        let on_disk = fs::read_to_string(writer.layout().case(&one.id)).expect("there");
        let db = Connection::open(results.path().join("harness.db")).expect("opens");
        let (document, outcome, class, message, control, leaks): (String, String, Option<String>, String, bool, i64) = db
            .query_row(
                "SELECT document, outcome, class, message, control, (SELECT count(*) FROM leaks) FROM cases",
                [],
                |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?)),
            )
            .expect("one row");
        prop_assert_eq!(document, on_disk);
        prop_assert_eq!(outcome, one.outcome.as_str());
        prop_assert_eq!(class.as_deref(), one.class.map(Class::as_str));
        prop_assert_eq!(message, one.message);
        prop_assert_eq!(control, one.control);
        prop_assert_eq!(leaks as usize, one.leaks.len());

        let before = dump(results.path());
        drop((db, writer, store));
        remove_database(results.path());
        Store::open(results.path()).expect("made again");
        prop_assert_eq!(dump(results.path()), before);
    }
}

#[test]
fn a_run_whose_process_was_killed_is_found_and_taken_up_again() {
    let results = tempfile::tempdir().expect("a folder");
    let store = Store::open(results.path()).expect("opens");
    let mut file = run(1, "2026-11-21T10:00:00Z");
    let mut writer = store.begin(&file, b"").expect("begins");
    let cases = ["a", "b", "c"].map(|name| case(name, "triage", Outcome::Passed));
    for (index, case) in cases.iter().enumerate() {
        let seq = index as u64 + 1;
        writer
            .event(&event(&file, seq, Some(case), EventKind::CaseStarted { index: seq, control: false }))
            .expect("event");
    }
    writer.case(&cases[0]).expect("stored");
    assert!(store.abandoned().expect("listed").is_empty(), "it is alive");
    assert!(matches!(store.reopen(&file.run_id), Err(StoreError::RunIsLive(_))));
    // Killed in the middle of an event, after the file of a case and before its row.
    let dir = writer.layout().clone();
    drop(writer);
    fs::write(dir.case(&cases[1].id), serde_json::to_string_pretty(&cases[1]).expect("JSON") + "\n").expect("written");
    let whole = fs::read_to_string(dir.events()).expect("there");
    fs::write(dir.events(), format!("{whole}{{\"seq\":4,\"at\":\"2026-11-2")).expect("written");
    // Another one, killed before the database knew of it.
    let unknown = results.path().join("2026-11-21-quickstart-00000002");
    fs::create_dir(&unknown).expect("made");
    let second = serde_json::to_string(&run(2, "2026-11-21T11:00:00Z")).expect("JSON");
    fs::write(unknown.join("run.json"), second).expect("written");

    let abandoned = store.abandoned().expect("listed");
    let ids: Vec<String> = abandoned.iter().map(|run| run.file.run_id.to_string()).collect();
    assert_eq!(ids, ["00000002", "00000001"]);
    let mut writer = store.reopen(&file.run_id).expect("taken up");
    assert_eq!(writer.last_seq(), 3);
    assert_eq!(fs::read_to_string(dir.events()).expect("there"), whole, "the torn line is gone");
    let interrupted = CaseFile { outcome: Outcome::Interrupted, ..cases[2].clone() };
    writer.case(&interrupted).expect("stored");
    file.totals = store.run("00000001").expect("found").file.totals;
    assert_eq!((file.totals.passed, file.totals.interrupted), (2, 1));
    file.finished_at = Some(at("2026-11-21T12:00:00Z"));
    file.exit_code = Some(11);
    let finished = EventKind::RunFinished { totals: file.totals, exit_code: 11 };
    writer.event(&event(&file, writer.last_seq() + 1, None, finished)).expect("event");
    writer.finish(&file).expect("finished");
    drop(writer);
    assert_eq!(store.abandoned().expect("listed").len(), 1);
    assert_eq!(store.cases(&file.run_id).expect("listed"), [cases[0].clone(), cases[1].clone(), interrupted]);
    let before = dump(results.path());
    remove_database(results.path());
    Store::open(results.path()).expect("made again");
    assert_eq!(dump(results.path()), before);
}

fn opened() -> (tempfile::TempDir, Store) {
    let results = tempfile::tempdir().expect("a folder");
    let store = Store::open(results.path()).expect("opened");
    (results, store)
}

#[test]
fn a_run_is_followed_while_it_is_written() {
    let (_folder, store) = opened();
    let file = run(0x1, "2026-11-21T10:00:00Z");
    let writer = store.begin(&file, b"name: m").expect("begun");
    let dir = writer.layout().clone();
    // Not even the file need be there.
    fs::remove_file(dir.events()).expect("removed");
    let mut tail = EventTail::new(dir.clone());
    assert_eq!(tail.next().expect("readable"), Tail::Pending, "the lock says that somebody writes");
    drop(writer);
    let lock = RunLock::acquire(dir.path()).expect("free");

    let line = |seq: u64| {
        let log = EventKind::Log { stream: LogStream::Harness, line: format!("line {seq}") };
        serde_json::to_string(&event(&file, seq, None, log)).expect("JSON") + "\n"
    };
    let append = |text: &str| {
        use std::io::Write as _;
        let mut file = fs::OpenOptions::new().create(true).append(true).open(dir.events()).expect("a file");
        file.write_all(text.as_bytes()).expect("written");
    };
    let mut next = || match tail.next().expect("readable") {
        Tail::Event(event) => event.seq.to_string(),
        Tail::Pending => "pending".to_owned(),
        Tail::End => "end".to_owned(),
    };
    append(&line(1));
    let (half, rest) = (&line(2)[..20], &line(2)[20..]);
    append(half);
    assert_eq!((next(), next()), ("1".to_owned(), "pending".to_owned()), "half a line is no event");
    append(rest);
    append("no event\n");
    append(&line(3));
    assert_eq!((next(), next(), next()), ("2".to_owned(), "3".to_owned(), "pending".to_owned()));
    // Killed in the middle of a line: its lock is free, and what is whole is all.
    append(&line(4));
    append(half);
    drop(lock);
    assert_eq!((next(), next(), next()), ("4".to_owned(), "end".to_owned(), "end".to_owned()));
    assert_eq!(tail.unreadable(), 1);
}

#[test]
fn a_finished_run_ends_though_its_lock_is_still_held() {
    let (_folder, store) = opened();
    let file = run(0x2, "2026-11-21T10:00:00Z");
    let mut writer = store.begin(&file, b"name: m").expect("begun");
    let mut tail = EventTail::new(writer.layout().clone());
    writer.event(&event(&file, 1, None, EventKind::RunFinished { totals: file.totals, exit_code: 0 })).expect("event");
    assert!(matches!(tail.next().expect("readable"), Tail::Event(_)));
    assert_eq!(tail.next().expect("readable"), Tail::End);
}
