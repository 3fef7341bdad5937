//! Farms by name: which one is meant, who asks, and that secrets stay where they are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;
use vqfarm_coordinator::tokens::{Role, create};
use vqfarm_core::id::UserName;

use crate::support::{Ran, TestFarm};

/// Two farms, `one` with a job and `two` without, and the file that names them.
struct Farms {
    one: TestFarm,
    two: TestFarm,
    dir: TempDir,
}

impl Farms {
    fn start() -> Self {
        let (one, two) = (TestFarm::start(), TestFarm::start());
        one.submit();
        let farms = Self { one, two, dir: TempDir::new().unwrap() };
        farms.write("");
        farms
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    fn write(&self, more: &str) {
        let (one, two) = (self.one.addr, self.two.addr);
        let text = format!(
            "default = \"one\"\n[farm.one]\ncoordinator = \"http://{one}\"\nuser = \"bob\"\n\
             [farm.two]\ncoordinator = \"http://{two}\"\n{more}"
        );
        fs::write(self.file(), text).unwrap();
    }

    fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        let mut command = self.one.command(args);
        command.env_remove("VQFARM_ADDR").env("VQFARM_PROFILES", self.file());
        command.envs(env.iter().copied());
        Ran::of(&mut command)
    }

    /// How many jobs the farm has that is asked.
    fn jobs(&self, args: &[&str], env: &[(&str, &str)]) -> usize {
        let ran = self.run(&[&["jobs", "--json"], args].concat(), env);
        assert_eq!(ran.status, 0, "{args:?}: {}", ran.stderr);
        ran.stdout.lines().count()
    }
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_default() {
    let farms = Farms::start();
    let (one, two) = (format!("http://{}", farms.one.addr), format!("http://{}", farms.two.addr));
    let addr_two = [("VQFARM_ADDR", two.as_str())];
    assert_eq!(farms.jobs(&[], &[]), 1, "the default");
    assert_eq!(farms.jobs(&["-P", "two"], &[]), 0);
    assert_eq!(farms.jobs(&[], &[("VQFARM_PROFILE", "two")]), 0);
    assert_eq!(farms.jobs(&["--profile", "one"], &[("VQFARM_PROFILE", "two")]), 1);
    assert_eq!(farms.jobs(&[], &addr_two), 0);
    assert_eq!(farms.jobs(&["-P", "one"], &addr_two), 1, "a flag's profile is a flag");
    assert_eq!(farms.jobs(&["--addr", &one], &addr_two), 1);
    let both = [("VQFARM_PROFILE", "one"), ("VQFARM_ADDR", two.as_str())];
    assert_eq!(farms.jobs(&[], &both), 0, "the environment's address over its profile's");
    assert_eq!(farms.jobs(&[], &[("VQFARM_ADDR", "")]), 1, "empty is unset");
}

#[test]
fn a_profile_says_whose_jobs_they_are() {
    let farms = Farms::start();
    let user = |args: &[&str]| {
        let ran = farms.run(&[&["submit", "boats.toml", "--json"], args].concat(), &[]);
        let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        told["job"]["user"].as_str().unwrap().to_owned()
    };
    assert_eq!(user(&[]), "bob");
    assert_eq!(user(&["--user", "eve"]), "eve");
    assert_eq!(user(&["-P", "two"]), "ada");
}

#[test]
fn names_and_files_that_are_wrong_are_told_with_the_nearest() {
    let farms = Farms::start();
    let ran = farms.run(&["jobs", "-P", "too"], &[]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("did you mean \"two\"?"), "{}", ran.stderr);
    farms.write("cordinator = \"x\"\ntoken = \"vqf_5ecret\"\n");
    let ran = farms.run(&["jobs", "-P", "two"], &[]);
    assert_eq!(ran.status, 2);
    for said in ["farm.two.cordinator", "did you mean \"coordinator\"?", "token_file", "2 mistakes"]
    {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("5ecret"), "{}", ran.stderr);
    // Who names no profile does not need the file.
    assert_eq!(farms.jobs(&["--addr", &format!("http://{}", farms.two.addr)], &[]), 0);
    let doctor = farms.run(&["doctor"], &[]);
    assert!(doctor.stdout.contains("farm.two.cordinator"), "{}", doctor.stdout);
    let password = farms.run(&["jobs", "--addr", "http://me:pw@x"], &[]);
    assert_eq!(password.status, 2);
    assert!(password.stderr.contains("no password"), "{}", password.stderr);
}

#[test]
fn tokens_come_from_a_file_or_a_program_of_the_profile() {
    let dir = TempDir::new().unwrap();
    let (secret, line) = create(UserName::new("bob").unwrap(), Role::Operator, None).unwrap();
    fs::write(dir.path().join("tokens.toml"), line).unwrap();
    let tokens = dir.path().join("tokens.toml").display().to_string();
    let farm = TestFarm::with(&["--tokens", &tokens]);
    let config = dir.path().join("config.toml");
    let token = dir.path().join("my.token");
    fs::write(&token, format!("{secret}\n")).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        "default = \"file\"\n[farm.file]\ncoordinator = \"{addr}\"\ntoken_file = \"my.token\"\n\
         [farm.program]\ncoordinator = \"{addr}\"\ntoken_command = [\"cat\", \"{}\"]\n\
         [farm.broken]\ncoordinator = \"{addr}\"\ntoken_command = [\"false\"]\n",
        token.display(),
        addr = farm.addr,
    );
    fs::write(&config, text).unwrap();
    let run = |args: &[&str]| {
        let mut command = farm.command(args);
        Ran::of(command.env_remove("VQFARM_ADDR").env("VQFARM_PROFILES", &config))
    };
    for args in [&["jobs"][..], &["jobs", "-P", "program"]] {
        let ran = run(args);
        assert_eq!((ran.status, ran.stderr.contains("warning")), (0, false), "{}", ran.stderr);
    }
    let broken = run(&["jobs", "-P", "broken"]);
    assert_eq!(broken.status, 2);
    assert!(broken.stderr.contains("profile broken: token_command false: it failed"));
    // A default profile's token does not go to another farm.
    let addr = format!("http://{}", farm.addr);
    let stranger = run(&["jobs", "--addr", &addr]);
    assert_eq!(stranger.status, 1);
    assert!(stranger.stderr.contains("VQFARM_TOKEN"), "{}", stranger.stderr);

    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let open = run(&["jobs"]);
    assert_eq!(open.status, 0);
    assert!(open.stderr.contains("others can read it; chmod 600"), "{}", open.stderr);
    assert!(run(&["doctor"]).stdout.contains("others can read the token"));
}

#[test]
fn profiles_are_listed_added_chosen_and_removed() {
    let farms = Farms::start();
    let path = farms.dir.path().join("new/config.toml");
    let run = |args: &[&str]| {
        let mut command = farms.one.command(&[&["profiles"], args].concat());
        Ran::of(command.env_remove("VQFARM_ADDR").env("VQFARM_PROFILES", &path))
    };
    let none = run(&[]);
    assert_eq!((none.status, none.stdout.as_str()), (0, ""));
    assert!(none.stderr.contains("vqfarm profiles add"), "{}", none.stderr);
    assert_eq!(run(&["use", "home"]).status, 2);
    let added = run(&["add", "home", "--coordinator", "http://10.0.0.1:7070"]);
    assert_eq!(added.status, 0, "{}", added.stderr);
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);

    // What somebody wrote there stays.
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("7070\"", "7070\" # in the cellar") + "# the end\n";
    fs::write(&path, format!("# mine\n{text}")).unwrap();
    let command = ["--token-command", "pass", "show", "--force", "x"];
    let studio = ["add", "studio", "--coordinator", "https://farm:7070", "--user", "ada"];
    assert_eq!(run(&[&studio[..], &command].concat()).status, 0);
    assert_eq!(run(&["add", "home", "--coordinator", "http://10.0.0.2:7070"]).status, 0);
    assert_eq!(run(&["use", "studio"]).status, 0);
    let text = fs::read_to_string(&path).unwrap();
    for kept in
        ["# mine\n", "10.0.0.2:7070\" # in the cellar", "# the end\n", "default = \"studio\""]
    {
        assert!(text.contains(kept), "{kept}: {text}");
    }
    let list = run(&[]);
    let lines: Vec<&str> = list.stdout.lines().map(str::trim_end).collect();
    assert!(lines[1].contains("home") && !lines[1].starts_with('*'), "{}", list.stdout);
    assert!(lines[2].starts_with('*') && lines[2].contains("`pass show --force x`"), "{lines:?}");
    let json = run(&["--json"]).stdout;
    let studio: serde_json::Value = serde_json::from_str(json.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&studio["in_force"], &studio["user"]), (&true.into(), &"ada".into()));

    // Nothing wrong gets in.
    let before = fs::read_to_string(&path).unwrap();
    for bad in [
        &["add", "a b", "--coordinator", "http://x"][..],
        &["add", "x", "--coordinator", "https://me:pw@x"],
        &["add", "x", "--coordinator", "ftp://x"],
        &["add", "x", "--coordinator", "http://x", "--user", "a b"],
        &["remove", "nobody"],
    ] {
        assert_eq!(run(bad).status, 2, "{bad:?}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert_eq!(run(&["remove", "studio"]).status, 0);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("studio") && text.contains("# in the cellar"), "{text}");
}
