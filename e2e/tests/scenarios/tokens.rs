//! Tokens that PyJWT makes, their keys behind https, rotated under load, and everything an attacker would try.

use std::process::{Command, Stdio};

use pigeon_e2e::{Authority, Cluster, Transport, checks, http, ports, tools};

over_both_transports!(an_issuer_its_callers_and_attackers,);

fn an_issuer_its_callers_and_attackers(transport: Transport) {
    let test = "tokens: PyJWT";
    let has_jwt = |python: &std::path::PathBuf| {
        let mut ran = Command::new(python);
        let ran = ran.args(["-c", "import jwt, cryptography"]).stderr(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    };
    if tools::python().filter(has_jwt).is_none() {
        return tools::skip(test, "Python with grpcio and PyJWT", tools::PYTHON_INSTALL);
    }
    let cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    let Some(authority) = Authority::new(test, cluster.dir.path()) else { return };
    let [certificate, key] = authority.issue("idp", "localhost");
    let port = ports::free();
    let ctl = &cluster.ctl;
    let refused = ctl.run(&["route", "set", "hello", "--auth", "jwt"]);
    assert!(refused.code != 0 && refused.stderr.contains("PGN-R111"), "{refused:?}");
    let issuer = format!(
        "issuer=https://idp.test,audience=pigeon,jwks=https://localhost:{port}/keys,ca={}",
        authority.ca()
    );
    ctl.ok(&["listener", "set", "default", "--jwt", &issuer]);
    ctl.ok(&["tenant", "add", "acme", "--subject", "https://idp.test,ann"]);
    for route in ["echo", "hello"] {
        ctl.ok(&["route", "set", route, "--auth", "jwt", "--tenant", "acme"]);
    }
    cluster.in_sync();
    let (target, port) = (cluster.proxies[0].address().to_string(), port.to_string());
    let arguments = ["--target", &target, "--port", &port];
    let files = ["--certificate", &certificate, "--key", &key];
    checks::run(test, "token_client.py", &[arguments, files].concat(), 80);
    let proxy = &cluster.proxies[0];
    let state = http::get(proxy.status_address(), "/state").unwrap().text();
    assert!(state.contains("/keys") && state.contains("\"new\""), "{state}");
    // Tokens are nowhere.
    for text in [state, proxy.metrics(), proxy.process.stderr()] {
        assert!(!text.contains("eyJ"), "{text}");
    }
    cluster.until_idle();
}
