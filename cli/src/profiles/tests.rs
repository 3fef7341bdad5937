//! What a file of profiles means, and what is said of one that is wrong.

use std::path::Path;

use super::file::Profiles;
use crate::farm::Token;

fn parse(text: &str) -> Result<Profiles, Vec<String>> {
    let problems = |problems: Vec<vqfarm_core::file::Problem>| {
        problems.iter().map(ToString::to_string).collect()
    };
    Profiles::parse(Path::new("/etc/x/config.toml"), text).map_err(problems)
}

#[test]
fn every_field_is_read_and_paths_begin_beside_the_file() {
    let profiles = parse(
        "default = \"studio\" # mine\n[farm.studio]\ncoordinator = \"https://farm:7070\"\n\
         ca = \"ca.pem\"\ntoken_file = \"/run/token\"\nuser = \"ada\"\n\
         [farm.home]\ncoordinator = \"10.0.0.1:7070\"\ntoken_command = [\"pass\", \"show\", \"x\"]\n",
    )
    .unwrap();
    assert_eq!(profiles.default.as_deref(), Some("studio"));
    let studio = &profiles.farms["studio"];
    assert_eq!(studio.ca.as_deref(), Some(Path::new("/etc/x/ca.pem")));
    assert_eq!(studio.token, Some(Token::File("/run/token".into())));
    assert_eq!(studio.user.as_deref(), Some("ada"));
    let command = ["pass", "show", "x"].map(str::to_owned).to_vec();
    assert_eq!(profiles.farms["home"].token, Some(Token::Command(command)));
}

#[test]
fn everything_wrong_is_told_at_once_with_its_place() {
    let errors = parse(
        "defalt = \"a\"\ndefault = \"studo\"\n[farm.studio]\ncordinator = \"x\"\n\
         [farm.\"a b\"]\ncoordinator = \"https://me:pw@farm\"\ntoken_command = \"pass\"\nuser = \"a b\"\n",
    )
    .unwrap_err();
    let starts = [
        "/etc/x/config.toml:1:1: defalt: no such field; did you mean \"default\"?",
        "/etc/x/config.toml:2:11: default: no farm is called \"studo\"; did you mean \"studio\"?",
        "/etc/x/config.toml:3:1: farm.studio: the field `coordinator` is missing",
        "/etc/x/config.toml:4:1: farm.studio.cordinator: no such field; did you mean",
        "/etc/x/config.toml:5:1: farm.a b: a profile's name is",
        "/etc/x/config.toml:6:15: farm.a b.coordinator: an address holds no user and no password",
        "/etc/x/config.toml:7:17: farm.a b.token_command: expected a list of texts; write",
        "/etc/x/config.toml:8:8: farm.a b.user: ",
    ];
    assert_eq!(errors.len(), starts.len(), "{errors:#?}");
    for (error, start) in errors.iter().zip(starts) {
        assert!(error.starts_with(start), "{error}\n{start}");
    }
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    let text = "[farm.a]\ncoordinator = \"https://a\"\ntoken = \"vqf_0123\"\n";
    let problems = Profiles::parse(Path::new("config.toml"), text).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].help.as_ref().unwrap().contains("token_file"));
    let shown = crate::diagnostics::rendered(&problems);
    assert!(shown.contains("config.toml:3:1") && !shown.contains("vqf_"), "{shown}");
}

#[test]
fn no_file_is_no_profile_and_rubbish_is_shown() {
    assert!(parse("").unwrap().farms.is_empty());
    assert!(parse("farm = 3").unwrap_err()[0].contains("expected tables by name"));
    assert!(parse("[farm\n").unwrap_err()[0].starts_with("/etc/x/config.toml:1:"));
}
