//! Kind `optimizers`: the parameter after each step of each optimiser.

use anyhow::{Context, Result};
use vqfarm_core::render::Optimizer as Name;
use vqfarm_engine::optim::Optimizer;

use crate::fixture::Fixture;
use crate::report::{BLOCK, Report};

pub fn check(fixture: &Fixture, report: &mut Report) -> Result<()> {
    let names: Vec<String> = fixture.json("names")?;
    let lr: f64 = fixture.json("lr")?;
    let z0 = fixture.tensor("z0")?;
    let steps = (0..).take_while(|i| fixture.has(&format!("grad.{i}"))).count();
    anyhow::ensure!(steps > 0, "tensor `grad.0` is missing");
    for name in names {
        let kind = by_name(&name)?;
        let mut z = z0.copy();
        let mut optimizer = Optimizer::new(kind, lr, &z);
        for i in 0..steps {
            optimizer.step(&mut z, &fixture.tensor(&format!("grad.{i}"))?);
            let expected = fixture.tensor(&format!("{name}.{i}"))?;
            report.close(format!("{name}.{i}"), &z, &expected, BLOCK);
        }
    }
    Ok(())
}

/// The optimiser that a fixture names, spelled as settings spell it.
pub fn by_name(name: &str) -> Result<Name> {
    serde_json::from_value(name.into()).with_context(|| format!("optimiser `{name}`"))
}
