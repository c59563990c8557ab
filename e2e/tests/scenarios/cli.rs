//! The CLI as scripts use it: exit codes, JSON, and documents that go out and come back.

use pigeon_e2e::{Cluster, Ran};

#[test]
fn every_reading_command_gives_one_json_document() {
    let cluster = Cluster::with_demo_routes(2, 2);
    let lists = [
        "route list",
        "engine list",
        "listener list",
        "proxy list",
        "revision list",
        "context list",
    ];
    let others = [
        "route get hello",
        "engine get demo",
        "listener get default",
        "proxy get edge-1",
        "status",
        "version",
        "route test --method GET --path /hello",
    ];
    for line in lists.iter().chain(&others) {
        let words: Vec<&str> = line.split(' ').collect();
        let ran = cluster.ctl.run(&[&words, ["-o", "json"].as_slice()].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{line}: {ran:?}");
        let json = ran.json();
        if lists.contains(line) {
            assert!(json["items"].is_array(), "{line}: {json}");
        }
        for format in [["-o", "yaml"].as_slice(), &[]] {
            let ran = cluster.ctl.run(&[&words, format].concat());
            assert_eq!(ran.code, 0, "{line}: {ran:?}");
            assert!(!ran.stdout.is_empty() && !ran.stdout.contains('\u{1b}'), "{line}: {ran:?}");
        }
    }
    let rest = cluster.admin.get("/v1/routes/hello");
    let cli = cluster.ctl.run(&["route", "get", "hello", "-o", "json"]).json();
    assert_eq!(cli, rest, "get is exactly what REST gives");
}

#[test]
fn what_export_writes_apply_reads_and_diff_tells() {
    let cluster = Cluster::with_demo_routes(1, 1);
    let ctl = &cluster.ctl;
    let documents = ctl.ok(&["export"]);
    let file = cluster.dir.path().join("exported.yaml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, &documents).unwrap();
    let revision = cluster.admin.revision();
    let same = ctl.run(&["diff", "-f", path]);
    assert_eq!((same.code, same.stderr.as_str()), (0, ""), "nothing differs: {same:?}");
    ctl.ok(&["apply", "-f", path]);
    assert_eq!(cluster.admin.revision(), revision, "what changes nothing makes no revision");

    let changed = documents.replace("/hello", "/greetings");
    assert_ne!(changed, documents);
    std::fs::write(&file, changed).unwrap();
    let diff = ctl.run(&["diff", "-f", path]);
    assert_eq!(diff.code, 1, "{diff:?}");
    assert!(diff.stdout.contains("/greetings") && diff.stdout.contains("/hello"), "{diff:?}");
    ctl.ok(&["apply", "-f", path, "--dry-run"]);
    assert_eq!(cluster.admin.revision(), revision, "a dry run changes nothing");
    let applied = ctl.ok(&["apply", "-f", path]);
    assert!(applied.contains("applied by 1/1 proxy "), "{applied}");
    assert_eq!(cluster.admin.revision(), revision + 1, "all of it is one revision");

    // Into another admin: the same configuration, but for what a first start has made.
    let other = Cluster::start(0, 0);
    other.ctl.ok(&["apply", "-f", path]);
    assert_eq!(other.ctl.ok(&["export"]), ctl.ok(&["export"]));
}

#[test]
fn writes_say_what_was_done_and_where_it_is_applied() {
    let cluster = Cluster::with_demo_routes(2, 1);
    let line = |arguments: &[&str]| -> Ran { cluster.ctl.run(arguments) };
    let add =
        line(&["route", "add", "x", "--path", "/x*", "--engine", "demo", "--label", "team=a"]);
    let revision = cluster.admin.revision();
    let (head, time) = add.stdout.trim().rsplit_once(" in ").unwrap_or_default();
    let wanted = format!("route/x added   revision {revision}   applied by 2/2 proxies");
    assert_eq!(head, wanted, "{add:?}");
    assert!(time.ends_with(" ms"), "{add:?}");

    let set = line(&["route", "set", "x", "--priority", "5"]);
    assert_eq!(set.code, 0, "{set:?}");
    let object = cluster.admin.get("/v1/routes/x");
    assert_eq!(object["spec"]["priority"], 5);
    assert_eq!(object["spec"]["match"]["path"], "/x*", "set changes only what is given");
    assert_eq!(object["labels"]["team"], "a");

    let dry = line(&["route", "rm", "x", "-y", "--dry-run"]);
    assert_eq!(dry.code, 0, "{dry:?}");
    let right = object["revision"].to_string();
    let removed = line(&["route", "rm", "x", "-y", "--if-match", &right]);
    assert_eq!(removed.code, 0, "{removed:?}");
    assert_eq!(line(&["route", "get", "x"]).code, 5);
}

#[test]
fn route_test_explains_and_agrees_with_the_proxy() {
    let cluster = Cluster::with_demo_routes(1, 1);
    cluster
        .ctl
        .ok(&["route", "add", "all", "--path", "/*", "--engine", "demo", "--host", "a.test"]);
    cluster.in_sync();
    let test = |more: &[&str]| cluster.ctl.run(&[&["route", "test"], more].concat());
    let hello = test(&["--method", "GET", "--path", "/hello"]);
    assert_eq!(hello.code, 0, "{hello:?}");
    assert!(hello.stdout.contains("hello"), "{hello:?}");
    let none = test(&["--method", "GET", "--path", "/nothing"]);
    assert_eq!(none.code, 1, "{none:?}");
    let by_host = test(&["--path", "/nothing", "--host", "a.test", "-o", "json"]);
    assert_eq!(by_host.json()["match"]["name"], "all", "{by_host:?}");
    let grpc = test(&["--grpc", "pigeon.demo.v1.Echo/Ping", "-o", "json"]);
    assert_eq!(grpc.json()["match"]["name"], "echo", "{grpc:?}");

    let to = cluster.proxies[0].address();
    let send =
        |host: &str| pigeon_e2e::http::send(to, "GET", "/nothing", &[("host", host)], b"").unwrap();
    assert_eq!(send("b.test").header("pigeon-reason"), Some("no_route"));
    assert_eq!(send("a.test:8080").header("pigeon-reason"), None, "the port does not matter");
}

#[test]
fn login_makes_a_context_that_later_commands_use() {
    let cluster = Cluster::with_demo_routes(0, 1);
    let bare = |arguments: &[&str]| {
        let mut command = cluster.ctl.command(arguments);
        command.env_remove("PIGEON_SERVER").env_remove("PIGEON_TOKEN_FILE");
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let token = cluster.admin.token_file();
    let (url, token) = (cluster.admin.url(), token.to_str().unwrap().to_owned());
    let login = bare(&["login", "--server", &url, "--token-file", &token, "--name", "lab"]);
    assert_eq!(login.0, Some(0), "{login:?}");
    let list = bare(&["engine", "list", "-o", "json"]);
    assert_eq!(list.0, Some(0), "{list:?}");
    assert!(list.1.contains("\"demo\""), "{list:?}");
    assert!(bare(&["context", "list"]).1.contains("lab"));
    let secret = cluster.admin.token();
    let config = std::fs::read_to_string(cluster.dir.path().join("contexts.yaml")).unwrap();
    assert!(!config.contains(&secret), "a token file stays where it is");
    assert_eq!(bare(&["context", "rm", "lab", "-y"]).0, Some(0));

    let wrong = cluster.dir.path().join("wrong");
    std::fs::write(&wrong, "nonsense\n").unwrap();
    let refused = bare(&["login", "--server", &url, "--token-file", wrong.to_str().unwrap()]);
    assert_eq!(refused.0, Some(4), "{refused:?}");
}
