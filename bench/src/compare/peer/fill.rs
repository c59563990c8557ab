//! Fills the templates of bench/peers.

use super::{Peer, Place};
use crate::compare::scenario::Tls;
use crate::engine::nth;

const ENVOY_WINDOWS: &str = "http2_protocol_options: {max_concurrent_streams: 1000, \
     initial_stream_window_size: 4194304, initial_connection_window_size: 67108864}";

impl Peer {
    /// The setting that writes a line for every call.
    fn log(self) -> &'static str {
        match self {
            // Its output is /dev/null.
            Self::Haproxy => "log stdout format raw local0\n    option httplog",
            Self::Nginx => "access_log /dev/null combined;",
            Self::Envoy => {
                "access_log: [{name: file, typed_config: {\"@type\": type.googleapis.com/\
                 envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /dev/null}}]"
            }
            Self::Caddy => "log {\n\t\toutput file /dev/null\n\t}",
            _ => "",
        }
    }

    fn no_log(self) -> &'static str {
        if self == Self::Nginx { "access_log off;" } else { "" }
    }

    /// What is spoken where the template says so; of nginx with callers, else with the engine.
    fn protocol(self, http1: bool, tls: Tls) -> &'static str {
        match self {
            Self::Pigeon => match (http1, tls) {
                (true, _) => "http1",
                (false, Tls::Both) => "h2",
                (false, _) => "h2c",
            },
            Self::Haproxy if !http1 => "proto h2",
            Self::Nginx => match (http1, tls) {
                (true, Tls::None) => "",
                (true, _) => "ssl",
                (false, Tls::None) => "http2",
                (false, _) => "ssl http2",
            },
            Self::Envoy if http1 => "http_protocol_options: {}",
            Self::Envoy => ENVOY_WINDOWS,
            Self::Caddy if !http1 && tls == Tls::Both => "versions 2",
            Self::Caddy if !http1 => "versions h2c 2",
            _ => "",
        }
    }

    pub(super) fn fill(self, template: &str, place: &Place<'_>) -> String {
        let (http1, tls) = (place.http1, place.tls);
        let scheme = match (http1, tls) {
            (_, Tls::Both) => "https://",
            (true, _) => "http://",
            (false, _) => "h2c://",
        };
        let site = if tls == Tls::None { "http://127.0.0.1" } else { "https://" };
        let secured = |is: bool, setting: String| if is { setting } else { String::new() };
        let callers = secured(tls != Tls::None, self.tls(place.files));
        let engine = secured(tls == Tls::Both, self.engine_tls(place.files, http1));
        let listen = place.listen();
        let log = if place.logs { self.log() } else { self.no_log() };
        let endpoints = (0..place.shape.endpoints)
            .map(|n| format!("{{address: \"{}\"}}", nth(place.engine, n)));
        let endpoints = endpoints.collect::<Vec<_>>().join(", ");
        // In comments the words stay as they are.
        let line = |line: &str| {
            if line.trim_start().starts_with('#') {
                return line.to_owned();
            }
            line.replace("@LISTEN@", &listen.to_string())
                .replace("@PORT@", &listen.port().to_string())
                .replace("@ENGINE@", &place.engine.to_string())
                .replace("@ENGINE_PORT@", &place.engine.port().to_string())
                .replace("@DIR@", &place.folder.to_string_lossy())
                .replace("@PROTOCOL@", self.protocol(http1, tls))
                .replace("@SCHEME@", scheme)
                .replace("@SITE@", site)
                .replace("@TLS@", &callers)
                .replace("@ENGINE_TLS@", &engine)
                .replace("@PASS@", pass(http1, place.grpc, tls))
                .replace("@LOG@", log)
                .replace("@ENDPOINTS@", &endpoints)
        };
        template.lines().map(line).map(|line| line + "\n").collect()
    }
}

/// How nginx passes calls on: it speaks HTTP/2 to an engine for gRPC alone.
fn pass(http1: bool, grpc: bool, tls: Tls) -> &'static str {
    match (grpc && !http1, tls) {
        (true, Tls::Both) => "grpc_pass grpcs://engine;",
        (true, _) => "grpc_pass grpc://engine;",
        (false, Tls::Both) => "proxy_pass https://engine;",
        (false, _) => "proxy_pass http://engine;",
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::path::Path;

    use super::super::{PEERS, Shape};
    use super::*;
    use crate::compare::certificates::{Certificates, NAME};

    fn filled(peer: Peer, http1: bool, tls: Tls) -> Option<String> {
        let (_, template) = peer.template()?;
        let path = |name: &str| Path::new("/d").join(name);
        let files = Certificates {
            ca: path("ca.pem"),
            certificate: path("certificate.pem"),
            key: path("key.pem"),
            both: path("both.pem"),
        };
        let place = Place {
            pigeon: Path::new("p"),
            port: 7,
            engine: SocketAddr::from((Ipv4Addr::LOCALHOST, 9)),
            folder: Path::new("d"),
            http1,
            grpc: !http1,
            logs: http1,
            files: &files,
            tls,
            shape: Shape::default(),
        };
        Some(peer.fill(template, &place))
    }

    fn code(text: &str) -> String {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        lines.map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn no_place_of_a_template_stays_empty() {
        for peer in PEERS {
            for (http1, tls) in [false, true]
                .into_iter()
                .flat_map(|h| [Tls::None, Tls::Callers, Tls::Both].map(|tls| (h, tls)))
            {
                let Some(text) = filled(peer, http1, tls) else { continue };
                let left = code(&text).replace("\"@type\"", "");
                assert!(!left.contains('@'), "{peer}: {left}");
                assert!(text.starts_with("# "), "{peer} says what it is for");
            }
        }
    }

    #[test]
    fn tls_is_where_the_work_wants_it() {
        for peer in PEERS {
            for http1 in [false, true] {
                let with = |tls| filled(peer, http1, tls).map(|text| code(&text));
                let (Some(clear), Some(callers), Some(both)) =
                    (with(Tls::None), with(Tls::Callers), with(Tls::Both))
                else {
                    continue;
                };
                assert!(!clear.contains(".pem"), "{peer}: {clear}");
                let own = ["certificate.pem", "both.pem"];
                assert!(own.iter().any(|file| callers.contains(file)), "{peer}: {callers}");
                assert!(!callers.contains("ca.pem") && !callers.contains("grpcs:"), "{callers}");
                assert!(both.contains("/d/ca.pem") && both.contains(NAME), "{peer}: {both}");
            }
        }
    }
}
