//! The command line: what can be written, and what its help says. No logic.

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Tests AI troubleshooting agents for Kubernetes: breaks clusters in known ways, lets agents work on them, judges what
/// they said and did.
#[derive(Debug, Parser)]
#[command(
    name = "harness-cli",
    version,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Where runs are stored [default: results]
    #[arg(long, global = true, value_name = "DIR", env = "HARNESS_RESULTS_DIR")]
    pub(crate) results_dir: Option<PathBuf>,
    /// Folder of failures; repeatable [default: failures and, where it exists, tests/failures]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) failures_dir: Vec<PathBuf>,
    /// Folder of agent presets; repeatable [default: agents]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) agents_dir: Vec<PathBuf>,
    /// Configuration file [default: harness.toml, where it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// When to use colours; NO_COLOR is respected
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Tell more: -v phases, -vv the program's own log
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Tell nothing but results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

/// How results are printed on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Human,
    /// For programs
    Json,
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Output {
    /// How to print the result
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a matrix: every failure on every cluster with every agent
    #[command(after_help = RUN_HELP)]
    Run(Box<Run>),
    /// Check a matrix: every error at once, and which executor each agent gets
    Validate {
        /// The matrix
        matrix: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// List the cases of a matrix, one a line, in expansion order
    #[command(after_help = FILTER_HELP)]
    List {
        /// The matrix
        matrix: PathBuf,
        #[command(flatten)]
        choice: Choice,
        #[command(flatten)]
        output: Output,
    },
    /// Look at failures, write new ones, try them out
    #[command(subcommand)]
    Failures(Failures),
    /// Look at agents, try them out
    #[command(subcommand)]
    Agents(Agents),
    /// Look at what was run
    #[command(subcommand)]
    Runs(Runs),
    /// Put back what runs that were killed have left on clusters; `run` does it too before it begins
    Recover(Recover),
    /// Clusters by themselves
    #[command(subcommand)]
    Cluster(Cluster),
    /// Print the JSON Schema of a file format
    Schema {
        /// The format
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(api::SCHEMAS))]
        name: String,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// The built-in rule-based agent
    #[command(hide = true)]
    Triage,
    /// The built-in agent that does nothing
    #[command(hide = true)]
    Idle,
}

impl Command {
    /// Whether agents or scripts run under it, who may read command lines and must not learn from this one.
    pub(crate) fn runs_others(&self) -> bool {
        matches!(
            self,
            Self::Run(_)
                | Self::Recover(_)
                | Self::Failures(Failures::Run(_) | Failures::Test(_))
                | Self::Agents(Agents::Test { .. } | Agents::Run(_))
        )
    }
}

/// `--help` is read by people who look for one thing: what filters are stands with both commands that take them.
macro_rules! filter_help {
    () => {
        "\
Filters:
  KEY=GLOB or KEY!=GLOB with the keys cluster, failure, agent, tag (of the failure) and case, or a bare GLOB
  over case ids (<cluster>--<failure>--<agent>). A case is selected when every filter matches it; its controls
  come along, unless a != rules them out."
    };
}

const FILTER_HELP: &str = filter_help!();

const RUN_HELP: &str = concat!(
    filter_help!(),
    "

Exit codes:
  0          what `accept` asks holds; without it, every case that counts passed
  1          the matrix or another input is invalid; nothing was run
  2          wrong usage
  10         a case failed, or timed out by the agent's doing, or `accept` is not met
  11         a case could not be judged
  12         a cluster could not be put back
  13         nothing is selected
  130, 143   interrupted by SIGINT, SIGTERM"
);

/// Which cases of a matrix.
#[derive(Args, Debug)]
pub(crate) struct Choice {
    /// Only cases that match; repeatable
    #[arg(long, value_name = "EXPR")]
    filter: Vec<String>,
    /// Only cases that ended so in an earlier run
    #[arg(long, value_name = "WHICH", value_delimiter = ',', requires = "of")]
    rerun: Vec<Which>,
    /// The earlier run: an id, a unique prefix of one, or `latest`
    #[arg(long, value_name = "RUN", requires = "rerun")]
    of: Option<String>,
    /// Only part M of N of them: slice:M/N deals them out in order, hash:M/N by case id, so that a new case moves no
    /// other; cases stay together with their control. An empty part is no error
    #[arg(long, value_name = "slice:M/N|hash:M/N")]
    partition: Option<api::Partition>,
}

impl Choice {
    pub(crate) fn take(self) -> api::Choice {
        let which = self.rerun.into_iter().map(|which| match which {
            Which::Failed => api::Again::Failed,
            Which::Unjudged => api::Again::Unjudged,
            Which::Missing => api::Again::Missing,
        });
        let which = which.collect();
        let rerun = self.of.map(|of| api::Rerun { which, of });
        api::Choice { filter: self.filter, rerun, partition: self.partition }
    }
}

/// Which cases of an earlier run.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    /// Every case that counts and did not pass
    Failed,
    /// Of these, those that could not be judged
    Unjudged,
    /// Cases that the run has no result of
    Missing,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The matrix
    pub(crate) matrix: PathBuf,
    /// Stream the logs of agents and failures to standard error
    #[arg(long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// How often each case is run, instead of what the matrix says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) repeat: Option<u32>,
    /// How often a case is tried again after an infrastructure error, instead of what the matrix says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10))]
    pub(crate) retries: Option<u32>,
    /// How many clusters are worked on at a time, instead of what the matrix says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) parallel_clusters: Option<u32>,
    /// Time for the agent in each case, as in 90s or 10m, instead of what the matrix says
    #[arg(long, value_name = "DUR", value_parser = some_time)]
    pub(crate) timeout_per_test: Option<Duration>,
    /// Write the JUnit report here too
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Start no new case after the first that did not pass
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Exit with 0 even when cases failed or could not be judged
    #[arg(long)]
    pub(crate) exit_zero: bool,
    /// Skipped cases do not count as unjudged
    #[arg(long)]
    pub(crate) allow_skipped: bool,
    /// The operator's grants, instead of what the configuration says
    #[arg(long, value_name = "FILE")]
    pub(crate) grants: Option<PathBuf>,
    /// Print the cases and what failures may do to the cluster; run nothing, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Recover {
    /// Only this run: an id, a unique prefix of one, or `latest`
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Remove what carries the label of a run that no journal here knows, from the clusters that the grants file names,
    /// once the run's Lease has expired; without it such things are listed
    #[arg(long)]
    pub(crate) orphans: bool,
    /// Where the clusters of the grants file are found, instead of $KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<String>,
    /// The operator's grants, instead of what the configuration says
    #[arg(long, value_name = "FILE")]
    pub(crate) grants: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Failures {
    /// List the failures that are there
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show one failure: what it does, what it may do, how it is recognised
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        output: Output,
    },
    /// Look into a .wasm file without running any of its code
    Inspect {
        /// The file
        file: PathBuf,
        /// Print the stanza for the grants file that allows it what it declares
        #[arg(long)]
        grants: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Begin a new failure: a folder that builds and runs as it stands
    New {
        /// Its id, as in `oom-killed`
        id: String,
        #[arg(long, value_name = "LANG", value_parser = language, help = "What it is written in: yaml, rust, c, js or script")]
        lang: api::Lang,
        /// The folder to make it in [default: the first failures folder]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Build a failure: one .wasm file with everything in it
    Build {
        /// Its folder
        #[arg(default_value = ".")]
        dir: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Prove that failures are fit to judge with: they take hold, only a repair passes, nothing is left
    ///
    /// On embedded clusters, several side by side; on an existing one, their cases side by side. Every check that fails ends
    /// in an instruction: which line of metadata.yaml to change.
    #[command(after_help = TEST_HELP)]
    Test(FailuresTest),
    /// Break a cluster with one failure, hold it broken, put it back; an embedded one where none is named
    Run(FailuresRun),
}

impl Failures {
    /// The grants file that the command names.
    pub(crate) fn grants(&self) -> Option<PathBuf> {
        match self {
            Self::Run(run) => run.grants.clone(),
            Self::Test(test) => test.grants.clone(),
            _ => None,
        }
    }
}

const TEST_HELP: &str = "\
Exit codes:
  0          every failure is fit
  1          an input is invalid; nothing was tested
  10         a failure is unfit
  11         none is unfit, but one could not be tested here
  12         a cluster could not be put back
  130, 143   interrupted by SIGINT, SIGTERM";

#[derive(Args, Debug)]
pub(crate) struct FailuresTest {
    /// Their ids [default: all that there are]
    pub(crate) ids: Vec<String>,
    /// Test them on this existing cluster instead; the grants file must name it
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<String>,
    /// The context of the existing cluster [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The operator's grants, instead of what the configuration says
    #[arg(long, value_name = "FILE")]
    pub(crate) grants: Option<PathBuf>,
    /// What everything random follows from, to see the same again
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How many cases may be at work on an existing cluster at a time, each in a namespace of its own [default: 8]
    #[arg(long, value_name = "N")]
    pub(crate) parallel: Option<NonZero<u32>>,
    /// Leave out the wrong fixes and the ways out: half a proof, for a first look
    #[arg(long)]
    pub(crate) quick: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args, Debug)]
pub(crate) struct FailuresRun {
    /// Its id
    pub(crate) id: String,
    /// A parameter; repeatable. The value is JSON, or text where it is none
    #[arg(long = "param", value_name = "K=V")]
    pub(crate) params: Vec<String>,
    /// How long to hold it broken; prints KUBECONFIG=<path> so that one can look
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) hold: Option<Duration>,
    /// Break this existing cluster instead; the grants file must name it
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<String>,
    /// The context of the existing cluster [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The operator's grants, instead of what the configuration says
    #[arg(long, value_name = "FILE", env = "HARNESS_GRANTS")]
    pub(crate) grants: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Agents {
    /// List the agents that are there
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show one agent's preset
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        output: Output,
    },
    /// Try an agent on one easy case: its task, environment, answer and usage
    Test {
        /// Its id
        id: String,
        /// Time for the agent
        #[arg(long, value_name = "DUR", value_parser = duration)]
        timeout_per_test: Option<Duration>,
        #[command(flatten)]
        output: Output,
    },
    /// Let an agent at an existing cluster, through the gate; nothing is induced, judged or put back
    Run(AgentsRun),
}

impl Agents {
    /// The grants file that the command names.
    pub(crate) fn grants(&self) -> Option<PathBuf> {
        match self {
            Self::Run(run) => run.grants.clone(),
            _ => None,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct AgentsRun {
    /// Its id
    pub(crate) id: String,
    /// The namespace that it is to look at, and the only one where it may change anything
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: String,
    /// The cluster, instead of $KUBECONFIG or ~/.kube/config; the grants file must name it
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<String>,
    /// The context of the cluster [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Time for the agent [default: 10m]
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) timeout_per_test: Option<Duration>,
    /// Where its answer is written to
    #[arg(long, value_name = "FILE")]
    pub(crate) answer: Option<PathBuf>,
    /// The operator's grants, instead of what the configuration says
    #[arg(long, value_name = "FILE", env = "HARNESS_GRANTS")]
    pub(crate) grants: Option<PathBuf>,
    /// Appended to its command
    #[arg(last = true, value_name = "ARG")]
    pub(crate) args: Vec<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Runs {
    /// List the runs, newest first
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show a run, or one of its cases
    Show {
        /// A run id, a unique prefix of one, or `latest`
        run: String,
        /// A case id, or a part of one
        case: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Print the logs of a run, line by line, each after whose it is
    Logs(Logs),
    /// Make a file of a run that can be committed or sent
    Export {
        /// A run id, a unique prefix of one, or `latest`
        run: String,
        /// What its agents passed, as `accept.baseline` of a matrix takes it
        #[arg(long, required = true)]
        baseline: bool,
        /// Write it here instead of printing it
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print the report of a run as Markdown
    Report {
        /// A run id, a unique prefix of one, or `latest`
        run: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// A run id, a unique prefix of one, or `latest`
    pub(crate) run: String,
    /// Only of this case, or of all whose id has this part
    pub(crate) case: Option<String>,
    /// Wait for more until the run ends; as JSON it is then an event a line
    #[arg(long, short)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// Start an embedded cluster and keep it up until interrupted
    ///
    /// Prints one line KUBECONFIG=<path> on standard output when it is ready.
    Up {
        /// Where to write the kubeconfig [default: a temporary file]
        #[arg(long, value_name = "FILE")]
        kubeconfig: Option<PathBuf>,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    api::parse_duration(text)
}

fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("no agent does anything in no time; write 90s or 10m".to_owned()),
        time => Ok(time),
    }
}

const LATER: &str = "not available in this version";

/// The languages of the contract; those that cannot be written yet say so.
fn language(text: &str) -> Result<api::Lang, String> {
    match text.parse() {
        Ok(language) => Ok(language),
        Err(_) if text == "python" => Err(LATER.to_owned()),
        Err(_) => Err("write yaml, rust, c, js or script".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
