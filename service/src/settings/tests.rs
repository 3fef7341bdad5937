use std::io::Write;

use super::*;

/// A program like those of the farm.
#[derive(Debug, Parser)]
#[command(name = "prog")]
struct Prog {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:7070")]
    listen: std::net::SocketAddr,
    #[arg(long)]
    tag: Vec<String>,
    #[arg(long, value_parser = ["text", "json"], default_value = "text")]
    log_format: String,
    #[arg(long, env = "VQFARM_TEST_KEY_THAT_NOBODY_SETS", hide_env_values = true)]
    key: Option<String>,
    #[arg(long)]
    quick: bool,
    // Always set where tests run.
    #[arg(long, env = "PATH")]
    path: String,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Parser)]
struct Several {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, clap::Subcommand)]
enum Which {
    Run(Prog),
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn with(text: &str, args: &[&str]) -> Result<Loaded<Prog>, SettingsError> {
    let file = file(text);
    let path = file.path().display().to_string();
    try_load(["prog", "--config", &path].iter().chain(args).map(|s| s.to_string()))
}

fn refusal(text: &str, args: &[&str]) -> String {
    with(text, args).err().unwrap().to_string()
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let text = "listen = \"[::1]:1\"\ntag = [\"a\", \"b\"]\nquick = true\npath = \"file\"";
    let prog = with(text, &[]).unwrap().options;
    assert_eq!((prog.listen.port(), prog.quick), (1, true));
    assert_eq!(prog.tag, ["a", "b"]);
    assert_eq!(prog.path, std::env::var("PATH").unwrap());
    assert_eq!(prog.log_format, "text");

    let prog = with(text, &["--listen=[::1]:2", "--tag=c", "--path=flag"]).unwrap().options;
    assert_eq!((prog.listen.port(), prog.path.as_str()), (2, "flag"));
    assert_eq!(prog.tag, ["c"]);
}

#[test]
fn settings_of_a_subcommand_come_from_the_file_too() {
    let file = file("listen = \"[::1]:9\"");
    let path = file.path().display().to_string();
    let Which::Run(prog) =
        try_load::<Several>(["prog", "run", "--config", &path]).unwrap().options.which;
    assert_eq!(prog.listen.port(), 9);
}

#[test]
fn mistakes_name_their_source() {
    let message = refusal("listen = \"nowhere\"", &[]);
    assert!(message.starts_with("listen: `nowhere` is not valid: invalid socket"), "{message}");
    assert!(message.contains(", key `listen`)"), "{message}");
    let message = refusal("", &["--listen", "nowhere"]);
    assert!(message.ends_with("(from --listen)"), "{message}");
    let message = refusal("log-format = \"yaml\"", &[]);
    assert!(message.contains("it must be one of `text`, `json` (from"), "{message}");
    let message = refusal("log-fromat = \"json\"", &[]);
    assert!(message.contains("`log-fromat` is not a setting; did you mean `log-format`?"));
    let message = refusal("quick = \"yes\"", &[]);
    assert!(message.contains("quick: \"yes\" is not a value for it"), "{message}");
    let message = refusal("listen = [", &[]);
    assert!(message.starts_with("--config ") && message.contains("line 1"), "{message}");
    let gone = try_load::<Prog>(["prog", "--config", "/nonexistent/x.toml"]).err().unwrap();
    assert!(gone.to_string().contains("/nonexistent/x.toml: No such file"), "{gone}");
}

#[test]
fn what_is_printed_names_sources_hides_secrets_and_reads_back() {
    let text = "tag = [\"a\"]\nkey = \"s3cret\"";
    let loaded = with(text, &["--print-config", "--quick"]).unwrap();
    let printed = loaded.printed.unwrap();
    assert!(printed.contains("listen = \"127.0.0.1:7070\"  # default\n"), "{printed}");
    assert!(printed.contains("quick = true  # --quick\n"), "{printed}");
    assert!(printed.contains("key = \"***\"  # /"), "{printed}");
    assert!(printed.contains("  # PATH\n"), "{printed}");
    assert!(!printed.contains("s3cret") && !printed.contains("print-config"), "{printed}");
    let again = with(&printed, &["--print-config"]).unwrap();
    assert_eq!(again.options.tag, ["a"]);
}

#[test]
fn a_wrong_flag_is_explained_by_clap() {
    assert!(matches!(with("", &["--nonesuch"]), Err(SettingsError::Usage(_))));
    assert!(matches!(with("", &["--help"]), Err(SettingsError::Usage(_))));
}
