//! Which farm is meant, and whether what says so is right.

use super::Check;
use crate::failure::Failure;
use crate::farm::{ConnectArgs, Token, is_open};
use crate::profiles::Profiles;

pub fn checks(connect: &ConnectArgs) -> Vec<Check> {
    let profiles = match Profiles::read() {
        Ok(profiles) => profiles,
        Err(failure) => return vec![wrong(&failure)],
    };
    let way = match connect.way() {
        Ok(way) => way,
        Err(failure) => return vec![wrong(&failure)],
    };
    let file = profiles.path.display();
    let text = match (&way.profile, profiles.farms.len()) {
        (Some(name), _) => format!("{name}, of {file}"),
        (None, 0) => format!("none; {file} has no farm"),
        (None, _) => format!("none in force; the address is said by {}", way.addr.from),
    };
    let mut checks = vec![Check::ok("profile", text)];
    let address = &way.addr.value;
    if way.token.is_some() && !address.starts_with("https://") && !is_here(address) {
        let text = format!("the token travels to {address} for all to read");
        checks.push(Check::warning("profile", text, "let the coordinator speak TLS: https://"));
    }
    if let Some(Token::File(path)) = way.token.as_ref().map(|token| &token.value) {
        let path = path.display();
        if let Err(error) = std::fs::metadata(path.to_string()) {
            let text = format!("the token's file {path}: {error}");
            checks.push(Check::missing(
                "profile",
                text,
                "write your token into it, or correct its name",
            ));
        } else if is_open(path.to_string().as_ref()) {
            let text = format!("others can read the token in {path}");
            checks.push(Check::warning("profile", text, format!("chmod 600 {path}")));
        }
    }
    checks
}

fn wrong(failure: &Failure) -> Check {
    Check::missing(
        "profile",
        failure.to_string(),
        "mend it there; vqfarm help farm shows how it is written",
    )
}

/// Whether an address is this machine's own.
fn is_here(address: &str) -> bool {
    let host = address.split_once("://").map_or(address, |(_, host)| host);
    ["localhost", "127.", "[::1]"].iter().any(|name| host.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known() {
        assert!(is_here("http://127.0.0.1:7070") && is_here("localhost:1"));
        assert!(!is_here("http://10.0.0.1") && !is_here("farm.example:7070"));
    }
}
