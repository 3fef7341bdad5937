//! The coordinator's settings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use vqfarm_core::access::{self, Role};
use vqfarm_core::id::{FarmName, UserName};
use vqfarm_service::logging::LogArgs;
use vqfarm_service::metrics::MetricsArgs;
use vqfarm_service::settings::ConfigArgs;

use crate::farm::Limits;

const AFTER: &str = "\
Each flag is also a key of the --config file and a VQFARM_* variable; the flag wins, then the
variable, then the file. S3 credentials come from the usual AWS_* variables.

Exit status: 0 stopped by a signal, 1 failed, 2 bad settings.";

/// The farm's front desk: takes jobs, ends lost leases, puts a farm back together
///
/// All state is in Redis and in storage: any number of coordinators may run for one farm, and
/// any may die. Workers do not need them to go on.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,

    #[command(flatten)]
    pub options: Options,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make tokens for users of this farm
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Print a new token, and the lines for the --tokens file that let it in
    Create {
        /// Whose jobs are submitted with it
        #[arg(long)]
        user: UserName,

        /// What it lets its bearer do
        #[arg(long, value_parser = role())]
        role: Role,

        /// When it ends: after 90d, or at 2027-01-01T00:00:00Z; never when left out
        #[arg(long, value_name = "TIME", value_parser = expiry)]
        expires: Option<Timestamp>,
    },
}

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Where to listen for the vqfarm command
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070", env = "VQFARM_LISTEN")]
    pub listen: SocketAddr,

    /// Where to serve the farm's web page, or `off`
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7080", env = "VQFARM_WEB_LISTEN")]
    pub web_listen: WebListen,

    /// The farm's Redis or Valkey: redis://, rediss:// (TLS), with user and password if needed
    #[arg(
        long,
        value_name = "URL",
        default_value = "redis://127.0.0.1:6379",
        env = "VQFARM_REDIS"
    )]
    pub redis: String,

    /// Where frames, models and outputs of this farm alone lie: s3://bucket/prefix, file:///folder
    #[arg(long, value_name = "URL", env = "VQFARM_STORAGE")]
    pub storage: Option<String>,

    /// Address of an S3 server that is not Amazon's, as in http://127.0.0.1:8333
    #[arg(long, value_name = "URL", env = "VQFARM_S3_ENDPOINT")]
    pub s3_endpoint: Option<String>,

    /// Name of the farm: several may share a Redis
    #[arg(long, value_name = "NAME", default_value = "vqfarm", env = "VQFARM_FARM")]
    pub farm: FarmName,

    /// Where the queue is kept; memory is for tests and ends with the process
    #[arg(long, value_enum, default_value_t = QueueKind::Redis, env = "VQFARM_QUEUE")]
    pub queue: QueueKind,

    /// Seconds after which a silent worker loses its tasks
    #[arg(long, value_name = "S", default_value = "30", env = "VQFARM_LEASE", value_parser = seconds)]
    pub lease: Duration,

    /// Attempts that may fail before a task is put aside
    #[arg(long, value_name = "N", default_value_t = 3, env = "VQFARM_ATTEMPTS",
          value_parser = clap::value_parser!(u32).range(1..=100))]
    pub attempts: u32,

    /// The most cells that a job may have
    #[arg(long, value_name = "N", default_value_t = 10_000_000, env = "VQFARM_MOST_CELLS",
          value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    pub most_cells: u64,

    /// The largest job, as JSON, in KiB
    #[arg(long, value_name = "KIB", default_value_t = 8 << 10, env = "VQFARM_MOST_JOB_KIB",
          value_parser = clap::value_parser!(u32).range(1..=64 << 10))]
    pub most_job_kib: u32,

    /// The largest message in MiB: a submit with its pictures and its sound
    #[arg(long, value_name = "MIB", default_value_t = 128, env = "VQFARM_MOST_MESSAGE_MIB",
          value_parser = clap::value_parser!(u32).range(1..=1 << 10))]
    pub most_message_mib: u32,

    /// Certificate chain of this server, PEM; asks for --tls-key
    #[arg(long, value_name = "FILE", env = "VQFARM_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of this server, PEM
    #[arg(long, value_name = "FILE", env = "VQFARM_TLS_KEY")]
    pub tls_key: Option<PathBuf>,

    /// Who may do what: a file of tokens. Without one only this machine is listened to, for the
    /// web page, too
    #[arg(long, value_name = "FILE", env = "VQFARM_TOKENS")]
    pub tokens: Option<PathBuf>,

    /// Certificates, PEM, of those who vouch for clients: nobody without a certificate of theirs is
    /// let in, to the web page neither
    #[arg(long, value_name = "FILE", env = "VQFARM_TLS_CLIENT_CA", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,

    /// Where to note every change and who made it, refused ones too: one JSON object a line
    #[arg(long, value_name = "FILE", env = "VQFARM_AUDIT_LOG")]
    pub audit_log: Option<PathBuf>,

    /// Whom to tell when jobs end: a file of webhooks and commands
    #[arg(long, value_name = "FILE", env = "VQFARM_NOTIFY")]
    pub notify: Option<PathBuf>,

    #[command(flatten)]
    pub metrics: MetricsArgs,

    #[command(flatten)]
    pub log: LogArgs,

    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Where the web page is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebListen {
    Off,
    At(SocketAddr),
}

impl FromStr for WebListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            text => text
                .parse()
                .map(Self::At)
                .map_err(|_| "write an address and a port, as in 127.0.0.1:7080, or `off`".into()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QueueKind {
    Redis,
    Memory,
}

impl Options {
    pub fn limits(&self) -> Limits {
        Limits {
            cells: self.most_cells,
            job: (self.most_job_kib as usize) << 10,
            message: (self.most_message_mib as usize) << 20,
        }
    }
}

fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::word)).try_map(|word| word.parse::<Role>())
}

fn expiry(text: &str) -> Result<Timestamp, String> {
    access::expiry(text, Timestamp::now())
}

/// From a tenth of a second to an hour.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("it must be a number of seconds from 0.1 to 3600".into()),
    }
}
