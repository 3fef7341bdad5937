//! Whether the coordinator is of a release that goes with this command.

use vqfarm_proto::v1::WhoAmIRequest;

use super::client::Farm;
use crate::style;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Says so in one line where the coordinator is of another release than this command, in a way that
/// matters.
pub fn tell(coordinator: &str) {
    if let Some(difference) = difference(VERSION, coordinator) {
        anstream::eprintln!("{}: {difference}", style::warning("warning"));
    }
}

/// Asks, and tells. Who does not answer is told of by the call that follows.
pub async fn ask(farm: &mut Farm) {
    if let Ok(answer) = farm.who_am_i(WhoAmIRequest {}).await {
        tell(&answer.into_inner().version);
    }
}

/// Releases go together that differ in their last number alone.
fn difference(ours: &str, coordinator: &str) -> Option<String> {
    let line = |version: &str| {
        let mut numbers = version.splitn(3, '.').map(str::to_owned);
        (numbers.next(), numbers.next())
    };
    if line(ours) == line(coordinator) {
        return None;
    }
    let theirs = match coordinator {
        "" => "an earlier release",
        version => version,
    };
    Some(format!(
        "the coordinator is of {theirs}, this command of {ours}: what one knows the other may not; \
         use programs of one release"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_matters_is_told() {
        for same in [("0.2.0", "0.2.0"), ("0.2.0", "0.2.7"), ("1.4.1", "1.4.0")] {
            assert_eq!(difference(same.0, same.1), None);
        }
        for (ours, theirs) in [("0.2.0", "0.1.9"), ("0.2.0", "1.2.0"), ("1.4.0", "1.5.0")] {
            let told = difference(ours, theirs).unwrap();
            assert!(told.contains(ours) && told.contains(theirs), "{told}");
        }
        assert!(difference("0.2.0", "").unwrap().contains("an earlier release"));
    }
}
