//! Where a test's processes run: a directory of their own and free ports.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, address};

const ANY: &str = "127.0.0.1:0";

/// A directory that goes with the test.
#[derive(Debug)]
pub struct Place {
    directory: TempDir,
}

/// The three services as three processes.
#[derive(Debug)]
pub struct Apart {
    /// The global controller.
    pub global: Process,
    /// The meeting controller.
    pub meeting: Process,
    /// The media handler.
    pub media: Process,
    /// Where the HTTP API is.
    pub api: SocketAddr,
    /// Ready lines of global controller, meeting controller, media handler.
    pub ready: [Value; 3],
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// A fresh directory.
    pub fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        Self { directory }
    }

    /// Where the processes run.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts `darktower <command>` on free ports, with more settings.
    pub fn start(&self, command: &str, more: &[(&str, &str)]) -> Process {
        let mut settings = vec![
            ("DARKTOWER_GLOBAL__HTTP", ANY),
            ("DARKTOWER_GLOBAL__HTTPS", ANY),
            ("DARKTOWER_MEETING__LISTEN", ANY),
            ("DARKTOWER_MEDIA__LISTEN", ANY),
            ("DARKTOWER_STATE__LISTEN", ANY),
        ];
        settings.extend(more);
        Process::start(&[command], self.path(), &settings)
    }

    /// All three in one process, ready, and where its HTTP API is.
    pub fn all(&self) -> (Process, SocketAddr) {
        let mut process = self.start("all", &[]);
        let ready = process.ready();
        (process, address(&ready, "http"))
    }

    /// All three apart, ready; the global controller holds the state.
    pub fn apart(&self) -> Apart {
        self.apart_with(&[])
    }

    /// The same, with more settings.
    pub fn apart_with(&self, more: &[(&str, &str)]) -> Apart {
        let mut global = self.start("global", more);
        let of_global = global.ready();
        let url = format!("grpc://{}", address(&of_global, "state"));
        let mut settings = more.to_vec();
        settings.push(("DARKTOWER_STATE__URL", url.as_str()));
        self.beside(global, of_global, &settings)
    }

    /// All three apart, ready, on the state and the database that `stores` names.
    pub fn apart_on(&self, stores: &[(&str, &str)]) -> Apart {
        let mut global = self.start("global", stores);
        let of_global = global.ready();
        self.beside(global, of_global, stores)
    }

    fn beside(&self, global: Process, of_global: Value, stores: &[(&str, &str)]) -> Apart {
        let mut meeting = self.start("meeting", stores);
        let mut media = self.start("media", stores);
        let ready = [of_global, meeting.ready(), media.ready()];
        Apart {
            api: address(&ready[0], "http"),
            global,
            meeting,
            media,
            ready,
        }
    }
}
