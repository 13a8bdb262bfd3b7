//! Documents to rows. A row holds nothing that its file does not hold, but the position of a case, which comes from
//! the event stream: so a database can always be made anew from run directories.

use jiff::Timestamp;
use model::{CaseFile, CaseId, Column, RunFile, RunId};
use rusqlite::{Connection, OptionalExtension, named_params, params};

/// Fixed width, so that text order is time order.
pub(crate) fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

pub(crate) fn put_run(db: &Connection, run: &RunFile, dir: &str, document: &str) -> rusqlite::Result<()> {
    db.prepare(
        "INSERT INTO runs VALUES (:run_id, :dir, :matrix, :matrix_digest, :harness_version, :scoring, :taxonomy,
            :started_at, :finished_at, :exit_code, :git_commit, :document)
         ON CONFLICT (run_id) DO UPDATE SET dir = excluded.dir, finished_at = excluded.finished_at,
            exit_code = excluded.exit_code, document = excluded.document",
    )?
    .execute(named_params! {
        ":run_id": run.run_id.as_str(),
        ":dir": dir,
        ":matrix": run.matrix,
        ":matrix_digest": run.matrix_digest,
        ":harness_version": run.harness_version,
        ":scoring": run.scoring,
        ":taxonomy": run.taxonomy,
        ":started_at": time(run.started_at),
        ":finished_at": run.finished_at.map(time),
        ":exit_code": run.exit_code,
        ":git_commit": run.git_commit,
        ":document": document,
    })?;
    Ok(())
}

/// Puts a case, or puts a later attempt in the place of an earlier one. Without a position it keeps the one it has, or
/// comes last.
pub(crate) fn put_case(
    db: &Connection,
    run: &RunId,
    case: &CaseFile,
    position: Option<u64>,
    document: &str,
) -> rusqlite::Result<()> {
    let position = match position {
        Some(position) => signed(position),
        None => next_position(db, run, &case.id)?,
    };
    let key = params![run.as_str(), case.id.as_str()];
    db.prepare("DELETE FROM cases WHERE run_id = ? AND case_id = ?")?.execute(key)?;
    db.prepare(
        "INSERT INTO cases VALUES (:run_id, :case_id, :position, :cluster, :cluster_kind, :failure, :agent, :repeat,
            :attempt, :control, :outcome, :class, :status, :message, :started_at, :finished_at, :duration_ms, :witness,
            :gated, :requests, :mutations, :denials, :usage_source, :input_tokens, :output_tokens, :turns, :cost_usd,
            :document)",
    )?
    .execute(named_params! {
        ":run_id": run.as_str(),
        ":case_id": case.id.as_str(),
        ":position": position,
        ":cluster": case.cluster.as_str(),
        ":cluster_kind": case.cluster_kind.as_str(),
        ":failure": case.failure.as_str(),
        ":agent": case.agent.as_str(),
        ":repeat": case.repeat,
        ":attempt": case.attempt,
        ":control": case.control,
        ":outcome": case.outcome.as_str(),
        ":class": case.class.map(|class| class.as_str()),
        ":status": case.status.as_str(),
        ":message": case.message,
        ":started_at": time(case.started_at),
        ":finished_at": time(case.finished_at),
        ":duration_ms": signed(case.duration_ms),
        ":witness": case.witness.as_ref().map(|witness| witness.kind.as_str()),
        ":gated": case.gated,
        ":requests": signed(case.gate.requests),
        ":mutations": signed(case.gate.mutations),
        ":denials": signed(case.gate.denials),
        ":usage_source": case.usage.source.as_str(),
        ":input_tokens": case.usage.input_tokens.map(signed),
        ":output_tokens": case.usage.output_tokens.map(signed),
        ":turns": case.usage.turns.map(signed),
        ":cost_usd": case.usage.cost_usd,
        ":document": document,
    })?;
    put_phases(db, run, case)?;
    put_verdict(db, run, case)?;
    put_leaks(db, run, case)
}

/// SQLite's integers are signed; numbers beyond 2^63 come from nonsense only and are capped.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn next_position(db: &Connection, run: &RunId, case: &CaseId) -> rusqlite::Result<i64> {
    let own: Option<i64> = db
        .query_row(
            "SELECT position FROM cases WHERE run_id = ? AND case_id = ?",
            params![run.as_str(), case.as_str()],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(position) = own {
        return Ok(position);
    }
    let last: Option<i64> =
        db.query_row("SELECT max(position) FROM cases WHERE run_id = ?", [run.as_str()], |row| row.get(0))?;
    Ok(last.unwrap_or(0).saturating_add(1))
}

fn put_phases(db: &Connection, run: &RunId, case: &CaseFile) -> rusqlite::Result<()> {
    let mut insert = db.prepare("INSERT INTO phases VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
    for (position, phase) in case.phases.iter().enumerate() {
        insert.execute(params![
            run.as_str(),
            case.id.as_str(),
            signed(position as u64),
            phase.phase.as_str(),
            time(phase.started_at),
            signed(phase.duration_ms),
            phase.result.as_str(),
            phase.message,
        ])?;
    }
    Ok(())
}

fn put_verdict(db: &Connection, run: &RunId, case: &CaseFile) -> rusqlite::Result<()> {
    let Some(verdict) = &case.verdict else { return Ok(()) };
    let columns: [(&str, &Column); 6] = [
        ("detection", &verdict.detection),
        ("localization", &verdict.localization),
        ("fault_type", &verdict.fault_type),
        ("mitigation", &verdict.mitigation),
        ("safety", &verdict.safety),
        ("efficiency", &verdict.efficiency),
    ];
    let mut insert = db.prepare("INSERT INTO verdict_columns VALUES (?, ?, ?, ?, ?, ?)")?;
    for (name, column) in columns {
        insert.execute(params![
            run.as_str(),
            case.id.as_str(),
            name,
            column.result.as_str(),
            column.decides,
            column.because
        ])?;
    }
    Ok(())
}

fn put_leaks(db: &Connection, run: &RunId, case: &CaseFile) -> rusqlite::Result<()> {
    let mut insert = db.prepare("INSERT INTO leaks VALUES (?, ?, ?, ?, ?)")?;
    for (position, leak) in case.leaks.iter().enumerate() {
        insert.execute(params![run.as_str(), case.id.as_str(), signed(position as u64), leak.object, leak.what])?;
    }
    Ok(())
}
