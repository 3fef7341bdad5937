//! `docs/reference/vqfarm-coordinator.md`.

use clap::CommandFactory;
use vqfarm_service::metrics::{COLUMNS, Metric};
use vqfarm_testing::documents;
use vqfarm_testing::reference::{self, commands, head, table};

use crate::meters::METRICS;
use crate::options::Cli;

const ABOUT: &str = "
What each setting does, in the words of its help, and what the coordinator tells Prometheus.
";

const ABOUT_METRICS: &str = "
## Metrics

Served to Prometheus with `--metrics-listen`. Gauges are of the whole farm and go away when nobody has set them for five minutes;
counters of tasks, attempts and leases are of the whole farm since this coordinator started, but for those that say *here*.

";

#[test]
fn the_reference_is_what_the_code_says() {
    let metrics = table(COLUMNS, METRICS.iter().map(Metric::row));
    let flags = commands(Cli::command().name("vqfarm-coordinator"));
    let head = head("vqfarm-coordinator");
    let page = [&head, ABOUT, &flags, ABOUT_METRICS, &metrics].concat();
    reference::hold("vqfarm-coordinator.md", &page);
}

#[test]
fn calls_in_the_documents_are_calls() {
    documents::check_calls(&Cli::command().name("vqfarm-coordinator"));
}
