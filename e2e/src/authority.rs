//! Certificates for a test, by the openssl program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::tools;

/// Who vouches for the certificates of a test.
#[derive(Debug)]
pub struct Authority {
    openssl: PathBuf,
    dir: PathBuf,
    ca: String,
}

impl Authority {
    /// One of its own, in `dir`; none, said loudly, where openssl is missing.
    pub fn new(test: &str, dir: &Path) -> Option<Self> {
        let Some(openssl) = tools::find("openssl") else {
            tools::skip(test, "openssl", "apt-get install openssl");
            return None;
        };
        let ca = dir.join("ca.pem").to_str()?.to_owned();
        let authority = Self { openssl, dir: dir.to_owned(), ca };
        let key = authority.path("ca.key");
        authority.openssl(&[
            &["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=Test authority"][..],
            &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
            &["-keyout", &key, "-out", &authority.ca],
        ]);
        Some(authority)
    }

    /// The file with its own certificate.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// A certificate for this host and for 127.0.0.1, and its key: the paths of `FILE.pem` and `FILE.key`.
    ///
    /// # Panics
    /// If openssl fails.
    pub fn issue(&self, file: &str, host: &str) -> [String; 2] {
        let [certificate, key] = ["pem", "key"].map(|kind| self.path(&format!("{file}.{kind}")));
        let names = format!("subjectAltName=DNS:{host},IP:127.0.0.1");
        self.openssl(&[
            &["req", "-x509", "-nodes", "-days", "20", "-subj", &format!("/CN={host}")][..],
            &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", &names],
            &["-addext", "basicConstraints=critical,CA:FALSE"],
            &["-CA", &self.ca, "-CAkey", &self.path("ca.key")],
            &["-keyout", &key, "-out", &certificate],
        ]);
        [certificate, key]
    }

    /// Puts another certificate where `FILE.pem` and `FILE.key` are, as an operator would: renamed into place.
    /// Returns its serial number.
    ///
    /// # Panics
    /// If openssl fails.
    pub fn renew(&self, file: &str, host: &str) -> String {
        let new = self.issue(&format!("{file}.new"), host);
        let serial = self.openssl(&[&["x509", "-noout", "-serial", "-in", &new[0]]]);
        for (new, kind) in new.iter().zip(["pem", "key"]) {
            std::fs::rename(new, self.path(&format!("{file}.{kind}"))).expect("renamed");
        }
        serial.trim().to_owned()
    }

    /// Runs openssl, which must succeed; its output.
    ///
    /// # Panics
    /// If it does not.
    pub fn openssl(&self, arguments: &[&[&str]]) -> String {
        let (code, stdout, stderr) = self.tried(arguments);
        assert_eq!(code, 0, "openssl {arguments:?}: {stderr}");
        stdout
    }

    /// Runs openssl: exit code, output, errors.
    pub fn tried(&self, arguments: &[&[&str]]) -> (i32, String, String) {
        let arguments: Vec<OsString> = arguments.concat().iter().map(OsString::from).collect();
        tools::run(&self.openssl, &arguments)
    }

    fn path(&self, file: &str) -> String {
        self.dir.join(file).to_str().expect("temporary paths are text").to_owned()
    }
}
