//! edit: with small scripts as editors.

use std::fs::File;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Admin, Ctl, DEMO, Ran};

const CHANGE: &str = "sed -i 's/priority: -5/priority: 7/' \"$1\"";

struct Desk {
    admin: Admin,
}

impl Desk {
    fn new() -> Self {
        let admin = Admin::start();
        let file = admin.write("demo.yaml", DEMO);
        admin.ok(&["apply", "-f", &file]);
        std::fs::create_dir(admin.dir.path().join("tmp")).expect("folder");
        Self { admin }
    }

    /// `edit` with a script as editor, which finds its file in `$1`; temporary files have a folder of their own.
    fn ctl(&self, args: &[&str], script: &str) -> Ctl {
        let editor = self.admin.write("editor", &format!("set -e\n{script}\n"));
        self.admin
            .ctl(&[&["edit"], args].concat())
            // Read, not executed: whoever still has it open for writing is in nobody's way.
            .env("EDITOR", &format!("sh {editor}"))
            .env("TMPDIR", &self.admin.dir.path().join("tmp").display().to_string())
    }

    fn edit(&self, args: &[&str], script: &str) -> Ran {
        self.ctl(args, script).run()
    }

    fn priority(&self) -> Value {
        self.admin.json(&["route", "get", "users"])["spec"]["priority"].clone()
    }

    /// The files that are left.
    fn kept(&self) -> Vec<PathBuf> {
        let folder = std::fs::read_dir(self.admin.dir.path().join("tmp")).expect("folder");
        folder.map(|entry| entry.expect("entry").path()).collect()
    }

    /// The one file that is left, which `said` names.
    fn named(&self, said: &str) -> String {
        let kept = self.kept();
        assert_eq!(kept.len(), 1, "{kept:?}");
        let path = kept[0].display().to_string();
        assert!(said.contains(&path), "{path} is not in {said}");
        path
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.admin.dir.path().join(name)).expect(name)
    }
}

#[test]
fn what_is_saved_replaces_the_object() {
    let desk = Desk::new();
    let look = "cp \"$1\" \"$HOME/seen\"; stat -c %a \"$1\" > \"$HOME/mode\"; echo \"$1\" > \"$HOME/name\"";
    let ran = desk.edit(&["route/users"], &format!("{look}\n{CHANGE}"));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert!(ran.stdout.starts_with("route/users changed   revision "), "{ran:?}");
    assert!(ran.stdout.ends_with("   no proxy connected\n"), "{ran:?}");
    assert_eq!(desk.priority(), json!(7));
    let seen = desk.read("seen");
    assert!(seen.starts_with("# route/users of revision "), "{seen}");
    assert!(seen.contains("\nkind: route\nname: users\nspec:\n"), "{seen}");
    assert_eq!(desk.read("mode"), "600\n");
    assert!(desk.read("name").ends_with(".yaml\n"), "{}", desk.read("name"));
    assert_eq!(desk.kept(), Vec::<PathBuf>::new());
    // Fields that are gone are at their default: it is the whole object.
    let ran = desk.edit(&["routes/users"], "sed -i '/priority:/d' \"$1\"");
    assert_eq!((ran.code, desk.priority()), (0, json!(0)), "{ran:?}");
}

#[test]
fn what_says_the_same_is_not_sent() {
    let desk = Desk::new();
    let revision = || desk.admin.json(&["revision", "list", "--limit", "1"]);
    let before = revision();
    for script in ["true", "touch \"$1\"", "sed -i 's/^spec:/# a comment\\n\\nspec:/' \"$1\""] {
        let ran = desk.edit(&["route/users"], script);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{script}: {ran:?}");
        assert_eq!(ran.stdout, "route/users unchanged   nothing was sent\n");
    }
    let ran = desk.edit(&["route/users", "-o", "json"], "true");
    let body: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(body["name"], "users");
    assert_eq!((revision(), desk.kept()), (before, vec![]));
}

#[test]
fn what_is_not_valid_is_refused_and_kept() {
    let desk = Desk::new();
    for (script, says) in [
        ("sed -i 's/engine: web/engine: nope/' \"$1\"", "there is no engine \"nope\""),
        ("sed -i 's/engine: web/engin: web/' \"$1\"", "did you mean \"engine\"?"),
        ("sed -i 's/^name: users/name: other/' \"$1\"", "it must stay \"users\""),
        ("printf 'kind: engine\\nname: users\\nspec: {}\\n' > \"$1\"", "it must stay \"route\""),
        (": > \"$1\"", "has 0 objects; it must have one, route/users"),
        ("printf -- '---\\nkind: engine\\nname: x\\n' >> \"$1\"", "has 2 objects"),
    ] {
        let ran = desk.edit(&["route/users"], script);
        assert_eq!((ran.code, ran.stdout.as_str()), (7, ""), "{script}: {ran:?}");
        assert!(ran.stderr.contains(says), "{script}: {}", ran.stderr);
        std::fs::remove_file(desk.named(&ran.stderr)).expect("kept");
    }
    assert_eq!(desk.priority(), json!(-5));
    let ran = desk.edit(&["route/users", "-o", "json"], "echo 'a: [' > \"$1\"");
    let problem: Value = serde_json::from_str(&ran.stderr).expect("JSON");
    desk.named(&problem["detail"].to_string());
}

#[test]
fn a_change_of_someone_else_is_not_overwritten() {
    let desk = Desk::new();
    let ctl = env!("CARGO_BIN_EXE_pigeon-ctl");
    let other = format!("{ctl} route set users --priority 3");
    let ran = desk.edit(&["route/users"], &format!("{other} > /dev/null\n{CHANGE}"));
    assert_eq!((ran.code, ran.stdout.as_str()), (6, ""), "{ran:?}");
    assert_eq!(desk.priority(), json!(3));
    let path = desk.named(&ran.stderr);
    for part in ["PGN-A412", &format!("pigeon-ctl diff -f {path}"), "pigeon-ctl edit route/users"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    // What it says works.
    let ran = desk.admin.ctl(&["diff", "-f", &path]).run();
    assert!(ran.stdout.contains("-  priority: 3\n+  priority: 7\n"), "{ran:?}");
    desk.admin.ok(&["apply", "-f", &path]);
    assert_eq!(desk.priority(), json!(7));
}

#[test]
fn an_editor_that_fails_sends_nothing() {
    let desk = Desk::new();
    let ran = desk.edit(&["route/users"], "exit 3");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stderr.contains("editor\" ended with exit status: 3; nothing was sent"), "{ran:?}");
    assert_eq!(desk.kept(), Vec::<PathBuf>::new());
    let ran = desk.edit(&["route/users"], &format!("{CHANGE}\nexit 3"));
    assert_eq!(ran.code, 1, "{ran:?}");
    desk.named(&ran.stderr);
    let ran = desk.ctl(&["route/users"], "").env("VISUAL", "no-such-editor -w").run();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("\"no-such-editor -w\" cannot be started"), "{ran:?}");
    assert!(ran.stderr.contains("EDITOR"), "{ran:?}");
    assert_eq!(desk.priority(), json!(-5));
}

#[test]
fn visual_goes_first_and_editors_may_have_arguments() {
    let desk = Desk::new();
    let visual = "sed -i -e 's/priority: -5/priority: 8/'";
    let ran = desk.ctl(&["route/users"], "exit 3").env("VISUAL", visual).run();
    assert_eq!((ran.code, desk.priority()), (0, json!(8)), "{ran:?}");
}

#[test]
fn a_dry_run_changes_nothing_and_keeps_the_work() {
    let desk = Desk::new();
    let ran = desk.edit(&["route/users", "--dry-run"], CHANGE);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert!(
        ran.stdout.starts_with("route/users changed   dry run: nothing was written\n"),
        "{ran:?}"
    );
    assert_eq!(desk.priority(), json!(-5));
    let path = desk.named(&ran.stdout);
    assert!(desk.admin.ok(&["apply", "-f", &path]).contains("1 changed"));
    assert_eq!(desk.priority(), json!(7));
}

#[test]
fn a_ctrl_c_in_the_editor_is_the_editors() {
    let desk = Desk::new();
    // The parent, or its parent if the shell between them stays.
    let interrupt = "p=$PPID; [ \"$(cat /proc/$p/comm)\" = pigeon-ctl ] || p=$(cut -d' ' -f4 /proc/$p/stat)\n[ \"$(cat /proc/$p/comm)\" = pigeon-ctl ]; kill -INT $p";
    let ran = desk.edit(&["route/users"], &format!("{interrupt}\n{CHANGE}"));
    assert_eq!((ran.code, desk.priority()), (0, json!(7)), "{ran:?}");
}

/// Both ends of a terminal.
fn terminal() -> (File, File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("grant");
    unlockpt(&ours).expect("unlock");
    let name = ptsname(&ours, Vec::new()).expect("name").into_string().expect("UTF-8");
    let theirs = File::options().read(true).write(true).open(name).expect("open");
    (ours.into(), theirs)
}

/// Makes a mistake at first, then puts it right, and shows what it saw.
const SECOND_THOUGHT: &str = "\
if grep -q 'engine: web' \"$1\"; then sed -i 's/engine: web/engine: nope/' \"$1\"
else cp \"$1\" \"$HOME/again\"; sed -i 's/engine: nope/engine: web/; s/priority: -5/priority: 7/' \"$1\"
fi";

#[test]
fn on_a_terminal_the_editor_opens_again_with_the_errors() {
    let desk = Desk::new();
    let (_ours, theirs) = terminal();
    let ran = desk.ctl(&["route/users"], SECOND_THOUGHT).terminal(&theirs).run();
    assert_eq!((ran.code, desk.priority()), (0, json!(7)), "{ran:?}");
    let again = desk.read("again");
    assert!(again.starts_with("# route/users was not taken. "), "{again}");
    assert!(again.contains("\n# route/users /spec/engine: there is no engine \"nope\""), "{again}");
    assert!(!again.contains("# route/users of revision"), "{again}");
    assert_eq!(desk.kept(), Vec::<PathBuf>::new());

    // Who does not want to be asked is not, and who gives up is let go.
    let ran = desk.ctl(&["route/users", "--no-input"], SECOND_THOUGHT).terminal(&theirs).run();
    assert_eq!(ran.code, 7, "{ran:?}");
    let give_up = "sed -i 's/engine: web/engine: nope/' \"$1\"; echo x >> \"$HOME/opened\"";
    let ran = desk.ctl(&["route/users"], give_up).terminal(&theirs).run();
    assert_eq!((ran.code, desk.read("opened").as_str()), (7, "x\nx\n"), "{ran:?}");
    assert_eq!(desk.kept().len(), 2);
}
