//! `vqfarm models`: bring model files in, pull published ones, see what there is.
//!
//! Results go to standard output (one JSON object a line with `--json`), everything else to
//! standard error.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use vqfarm_weights::library::{
    CATALOGUE, Config, Entry, Library, ModelName, Published, Pull, published,
};

use crate::complete;
use crate::done;
use crate::failure::Failure;
use crate::farm::{self, PushArgs};

/// See, bring in and hand on models
#[derive(Debug, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,

    /// Folder of the models [default: ~/.local/share/vqfarm/models]
    #[arg(long, env = "VQFARM_MODELS", value_name = "DIR", global = true)]
    models: Option<PathBuf>,

    /// Print one JSON object a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Convert a published model file and keep it under a name
    ///
    /// Reads .safetensors, OpenAI's and Lightning's .pt and .ckpt, and Hugging Face directories.
    /// Nothing in the file is executed.
    Import {
        /// The model file or directory
        file: PathBuf,

        /// The .yaml published beside a VQGAN's checkpoint, or a YAML or JSON of a model's sizes
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,

        /// What to call the model in job files
        #[arg(long)]
        name: String,
    },

    /// List the models on this machine
    List {
        /// List the published models that can be pulled instead
        #[arg(long)]
        published: bool,
    },

    /// Download a published model by its name; a download that broke off goes on
    Pull {
        /// A name from `vqfarm models list --published`
        #[arg(add = ArgValueCompleter::new(complete::published))]
        name: String,

        /// Download from this address instead (the checksum stays the same)
        #[arg(long)]
        url: Option<String>,
    },

    Push(PushArgs),

    /// Show what is known about a model
    Show {
        /// A name from `vqfarm models list`
        #[arg(add = ArgValueCompleter::new(complete::models))]
        name: String,
    },
}

pub fn run(args: ModelsArgs) -> Result<ExitCode, Failure> {
    let mut library = Library::of_user()?;
    if let Some(dir) = args.models {
        library = library.moved_to(dir);
    }
    match args.command {
        ModelsCommand::Push(push) => farm::block_on(farm::push(push, library, args.json)),
        command => done(local(command, &library, args.json)),
    }
}

/// What this machine can do alone.
fn local(command: ModelsCommand, library: &Library, json: bool) -> Result<()> {
    let mut out = Out { json };
    match command {
        ModelsCommand::Import { file, config, name } => {
            let entry = library.import(&file, config.as_deref(), &ModelName::new(&name)?)?;
            out.details(&entry)
        }
        ModelsCommand::List { published: false } => {
            let entries = library.list()?;
            if entries.is_empty() && !json {
                eprintln!("There are no models yet: see `vqfarm models list --published`.");
            }
            out.rows(&entries, describe, row)
        }
        ModelsCommand::List { published: true } => {
            let models: Vec<&Published> = CATALOGUE.iter().collect();
            out.rows(
                &models,
                |model| describe_published(model),
                |model| [model.name.to_owned(), model.kind.to_string(), model.note.to_owned()],
            )
        }
        ModelsCommand::Pull { name, url } => {
            let entry = pull(library, &name, url.as_deref())?;
            out.details(&entry)
        }
        ModelsCommand::Show { name } => out.details(&library.open(&name)?),
        ModelsCommand::Push(_) => Ok(()),
    }
}

fn pull(library: &Library, name: &str, url: Option<&str>) -> Result<Entry> {
    let model = published(name).with_context(|| {
        let names: Vec<&str> = CATALOGUE.iter().map(|model| model.name).collect();
        format!(
            "no published model is called `{name}`; known are {}. Other files come in with \
             `vqfarm models import FILE --name {name}`",
            names.join(", ")
        )
    })?;
    let bar = ProgressBar::no_length();
    let style = "{msg} {bytes} of {total_bytes} {wide_bar} {bytes_per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).context("the progress bar's template")?);
    bar.set_message(model.name);
    bar.enable_steady_tick(Duration::from_millis(500));
    let pull = Pull::published(model, url)?;
    let entry = library.pull(&pull, &mut |done, total| {
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(done);
    });
    bar.finish_and_clear();
    entry.with_context(|| {
        format!(
            "cannot pull {name}. If you have the file from elsewhere: vqfarm models import FILE --name {}",
            model.name
        )
    })
}

/// Standard output in the form that was asked for.
struct Out {
    json: bool,
}

impl Out {
    fn line(&mut self, text: impl std::fmt::Display) -> Result<()> {
        writeln!(anstream::stdout(), "{text}").context("cannot write to standard output")
    }

    /// One line each, in columns as wide as their widest cells.
    fn rows<T>(
        &mut self,
        items: &[T],
        describe: impl Fn(&T) -> Value,
        row: impl Fn(&T) -> [String; 3],
    ) -> Result<()> {
        if self.json {
            return items.iter().try_for_each(|item| self.line(describe(item)));
        }
        let rows: Vec<[String; 3]> = items.iter().map(row).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let (first, second) = (width(0), width(1));
        rows.iter().try_for_each(|[name, kind, rest]| {
            let line = format!("{name:first$}  {kind:second$}  {rest}");
            self.line(line.trim_end())
        })
    }

    fn details(&mut self, entry: &Entry) -> Result<()> {
        if self.json {
            return self.line(describe(entry));
        }
        let record = &entry.record;
        self.line(format!("name      {}", entry.name))?;
        self.line(format!("kind      {}", kind(&record.config)))?;
        self.line(format!("sizes     {}", sizes(&record.config)))?;
        self.line(format!("weights   {:.1} million", record.parameters as f64 / 1e6))?;
        self.line(format!("sha256    {}", entry.sha256))?;
        self.line(format!("file      {}", entry.path.display()))?;
        self.line(format!("source    {}", record.source))?;
        self.line(format!("licence   {}", record.licence.as_deref().unwrap_or("not known")))?;
        record.assumed.iter().try_for_each(|what| self.line(format!("assumed   {what}")))
    }
}

fn kind(config: &Config) -> &'static str {
    match config {
        Config::Vqgan(_) => "vqgan",
        Config::Clip(_) => "clip",
    }
}

/// What an artist wants to know of a model's sizes.
fn sizes(config: &Config) -> String {
    match config {
        Config::Vqgan(c) => {
            format!(
                "f{}, {} codes of {} channels, {:?}",
                c.factor(),
                c.n_embed,
                c.embed_dim,
                c.quantizer
            )
        }
        Config::Clip(c) => format!(
            "{} px, {} features, {} tokens, {}",
            c.image_resolution, c.embed_dim, c.context_length, c.activation
        ),
    }
}

fn row(entry: &Entry) -> [String; 3] {
    let bundled = if entry.bundled { " (bundled)" } else { "" };
    let config = &entry.record.config;
    [entry.name.to_string(), kind(config).to_owned(), sizes(config) + bundled]
}

fn describe(entry: &Entry) -> Value {
    let mut value = json!({
        "name": entry.name.as_str(),
        "sha256": entry.sha256,
        "path": entry.path,
        "bundled": entry.bundled,
    });
    if let (Value::Object(all), Value::Object(record)) = (&mut value, json!(entry.record)) {
        all.extend(record);
    }
    value
}

fn describe_published(model: &Published) -> Value {
    json!({
        "name": model.name,
        "kind": model.kind,
        "url": model.url,
        "sha256": model.sha256,
        "licence": model.licence,
        "note": model.note,
    })
}
