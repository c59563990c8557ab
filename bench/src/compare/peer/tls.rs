//! What each peer's configuration says of TLS.

use super::Peer;
use crate::compare::certificates::{Certificates, NAME};

const ENVOY: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";

impl Peer {
    /// The setting that has callers speak TLS, and no other version of it than 1.3 where older ones are the default.
    /// Cipher and key exchange are those that the callers offer.
    pub(super) fn tls(self, files: &Certificates) -> String {
        let [certificate, key, both] =
            [&files.certificate, &files.key, &files.both].map(|file| file.display());
        match self {
            Self::Direct | Self::Splice => String::new(),
            Self::Pigeon => format!(
                ", tls: {{certificates: [{{certificate: \"{certificate}\", key: \"{key}\"}}]}}"
            ),
            Self::Haproxy => format!(" ssl crt {both} alpn h2,http/1.1 ssl-min-ver TLSv1.3"),
            Self::Nginx => format!(
                "ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;"
            ),
            Self::Envoy => format!(
                "transport_socket: {{name: tls, typed_config: {{\"@type\": {ENVOY}.DownstreamTlsContext, \
                 common_tls_context: {{alpn_protocols: [h2, http/1.1], tls_certificates: \
                 [{{certificate_chain: {{filename: \"{certificate}\"}}, \
                 private_key: {{filename: \"{key}\"}}}}]}}}}}}"
            ),
            Self::Caddy => format!("tls {certificate} {key}"),
        }
    }

    /// The setting that has the engine speak TLS, and checks who it is.
    pub(super) fn engine_tls(self, files: &Certificates, http1: bool) -> String {
        let ca = files.ca.display();
        let protocol = if http1 { "http/1.1" } else { "h2" };
        match self {
            Self::Direct | Self::Splice => String::new(),
            Self::Pigeon => format!("tls: {{ca: \"{ca}\", server_name: {NAME}}}"),
            Self::Haproxy => format!(
                "ssl ca-file {ca} verify required sni str({NAME}) verifyhost {NAME} alpn {protocol}"
            ),
            Self::Nginx => ["grpc", "proxy"]
                .map(|by| {
                    format!(
                        "{by}_ssl_trusted_certificate {ca}; {by}_ssl_verify on; {by}_ssl_name {NAME}; \
                         {by}_ssl_server_name on; {by}_ssl_protocols TLSv1.3;"
                    )
                })
                .join(" "),
            Self::Envoy => format!(
                "transport_socket: {{name: tls, typed_config: {{\"@type\": {ENVOY}.UpstreamTlsContext, \
                 sni: {NAME}, common_tls_context: {{alpn_protocols: [{protocol}], \
                 tls_params: {{tls_maximum_protocol_version: TLSv1_3}}, validation_context: \
                 {{trusted_ca: {{filename: \"{ca}\"}}}}}}}}}}"
            ),
            Self::Caddy => format!("tls_trusted_ca_certs {ca}\n\t\t\ttls_server_name {NAME}"),
        }
    }
}
