//! `vqfarm schema`: what a job file may say, for editors.

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  vqfarm schema > job.schema.json

Then an editor that knows JSON Schema completes fields and marks mistakes while you type. In TOML (Even
Better TOML, Taplo) begin the job file with

  #:schema ./job.schema.json

and in YAML (yaml-language-server) with

  # yaml-language-server: $schema=./job.schema.json";

/// Print the JSON Schema of job files, by which editors complete and check them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SchemaArgs {}

pub fn schema(_: SchemaArgs) -> anyhow::Result<()> {
    anstream::println!("{:#}", vqfarm_core::schema::of_jobs());
    Ok(())
}
