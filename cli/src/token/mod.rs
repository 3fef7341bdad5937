//! `vqfarm token`: who may do what on a farm of one's own.

mod edit;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};
use vqfarm_core::access::{self, Role, Token};
use vqfarm_core::id::UserName;

use crate::failure::Failure;
use crate::farm::show;

const EXAMPLES: &str = "\
Examples:
  vqfarm token create --user ada --role submitter --expires 90d --tokens /etc/vqfarm/tokens.toml
  vqfarm token create --user node7 --role worker > node7.token
  vqfarm token list
  vqfarm token revoke 1a2b3c4d
  vqfarm token revoke --user ada

A viewer looks at everything and fetches results. A submitter also submits, and changes jobs of
their own. An operator changes everything. A worker is a machine: it looks, and drains workers
that bear its name, as node7 or node7-2.

The file is the coordinator's, on its machine; it holds hashes, not tokens. A running coordinator
goes by it at once: who watches a job with a revoked token is cut off within two seconds.";

/// Make, list and revoke the tokens by which a farm of yours knows its users
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: Command,

    /// The coordinator's file of tokens
    #[arg(long, value_name = "FILE", env = "VQFARM_TOKENS", global = true,
          value_hint = clap::ValueHint::FilePath)]
    tokens: Option<PathBuf>,

    /// Print one JSON object a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a token to the file and print its secret, which is kept nowhere
    Create(CreateArgs),
    /// List the tokens of the file
    List,
    /// Take tokens out of the file
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Whose it is
    #[arg(long)]
    user: UserName,

    /// What it lets its bearer do
    #[arg(long, value_parser = role())]
    role: Role,

    /// When it ends: after 90d or 12h, or at 2027-01-01T00:00:00Z; never when left out
    #[arg(long, value_name = "TIME", value_parser = expiry)]
    expires: Option<Timestamp>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct RevokeArgs {
    /// The token, as `vqfarm token list` calls it
    id: Option<String>,

    /// All of a user's
    #[arg(long)]
    user: Option<UserName>,
}

fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::word)).try_map(|word| word.parse::<Role>())
}

fn expiry(text: &str) -> Result<Timestamp, String> {
    access::expiry(text, Timestamp::now())
}

pub fn token(args: TokenArgs) -> Result<ExitCode, Failure> {
    let file = args.tokens.ok_or_else(|| {
        let message = "say which file: --tokens FILE or VQFARM_TOKENS, as the coordinator has it";
        Failure::Usage(message.into())
    })?;
    match args.command {
        Command::Create(create_args) => create(&file, create_args, args.json)?,
        Command::List => list(&file, args.json)?,
        Command::Revoke(which) => revoke(&file, &which, args.json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn create(file: &Path, args: CreateArgs, json: bool) -> Result<(), Failure> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the system has no randomness")?;
    let (secret, token) = Token::create(&random, args.user, args.role, args.expires);
    edit::add(file, &token)?;
    if json {
        let mut value = as_json(&token, Timestamp::now());
        value["secret"] = secret.into();
        show::json_lines([value])?;
        return Ok(());
    }
    anstream::eprintln!(
        "{}'s token {} is in {}. Its secret, for VQFARM_TOKEN or a --token-file; it is not kept \
         anywhere:\n",
        token.user,
        token.id(),
        file.display()
    );
    Ok(show::line(secret)?)
}

fn list(file: &Path, json: bool) -> Result<(), Failure> {
    let (tokens, now) = (edit::read(file)?.tokens, Timestamp::now());
    if json {
        return Ok(show::json_lines(tokens.iter().map(|token| as_json(token, now)))?);
    }
    if tokens.is_empty() {
        anstream::eprintln!("no tokens in {}", file.display());
        return Ok(());
    }
    let mut rows = show::Rows::new(&["TOKEN", "USER", "ROLE", "EXPIRES"]);
    for token in &tokens {
        let expires = match token.expires {
            Some(at) if token.is_over(now) => format!("{at}, over"),
            Some(at) => at.to_string(),
            None => "never".into(),
        };
        let (id, user, role) = (token.id().to_owned(), token.user.to_string(), token.role);
        rows.add([id, user, role.to_string(), expires]);
    }
    Ok(rows.print()?)
}

fn revoke(file: &Path, which: &RevokeArgs, json: bool) -> Result<(), Failure> {
    let tokens = edit::read(file)?.tokens;
    let is_meant = |token: &&Token| match (&which.id, &which.user) {
        (Some(id), _) => id.len() >= 4 && token.sha256.starts_with(id.as_str()),
        (None, user) => user.as_ref() == Some(&token.user),
    };
    let gone: Vec<&Token> = tokens.iter().filter(is_meant).collect();
    let name = file.display();
    match (&which.id, gone.as_slice()) {
        (Some(id), []) => {
            let message = format!("{name} has no token {id}; vqfarm token list shows them");
            return Err(Failure::Usage(message));
        }
        (Some(id), [_, _, ..]) => {
            return Err(Failure::Usage(format!("{id} fits several tokens; write more of it")));
        }
        (None, []) => {
            let user = which.user.as_ref().map_or("", UserName::as_str);
            return Err(Failure::Usage(format!("{name} has no token of {user}")));
        }
        _ => (),
    }
    edit::remove(file, |hash| gone.iter().any(|token| token.sha256 == hash))?;
    if json {
        let now = Timestamp::now();
        return Ok(show::json_lines(gone.iter().map(|token| as_json(token, now)))?);
    }
    for token in gone {
        anstream::eprintln!("{}'s token {} ({}) is revoked", token.user, token.id(), token.role);
    }
    Ok(())
}

fn as_json(token: &Token, now: Timestamp) -> Value {
    json!({
        "token": token.id(),
        "user": token.user,
        "role": token.role,
        "expires": token.expires,
        "over": token.is_over(now),
    })
}
