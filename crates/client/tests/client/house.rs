//! The three services in this process, and participants for them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use darktower_client::file::Clip;
use darktower_client::{Api, Client, CreateMeeting, Events, Invitation, State};
use darktower_cluster::token::Verifier;
use darktower_cluster::{Timing, random_bytes};
use darktower_net::Certs;
use darktower_store::{MemoryState, SqliteDatabase, StateStore};
use darktower_wire::ids::NodeId;
use tokio::time::timeout;
use {darktower_global_controller as global, darktower_media_handler as media};
use {darktower_meeting_controller as meeting, tempfile::TempDir};

/// No wait of these tests is longer, on a machine that compiles meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct House {
    pub(crate) api: Api,
    pub(crate) url: String,
    pub(crate) dir: TempDir,
    state: Arc<dyn StateStore>,
    _global: global::Running,
    pub(crate) certs: Certs,
    meeting: Option<meeting::Running>,
    pub(crate) media: media::Running,
}

impl House {
    pub(crate) async fn start() -> Self {
        Self::with(|_, _| {}, |_, _| {}).await
    }

    /// A house whose media handler is configured otherwise, and listened in on.
    pub(crate) async fn with(
        change: impl FnOnce(&Certs, &mut media::Config),
        tap: impl Fn(media::Direction, &Bytes) + Send + Sync + 'static,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let state: Arc<dyn StateStore> = Arc::new(MemoryState::new());
        let certs = Certs::development(&[], None, SystemTime::now()).unwrap();
        let verifier = || Arc::new(Verifier::of_registry(state.clone()));
        let node = || NodeId(random_bytes().unwrap());
        let mut config = media::Config {
            listen: any,
            ..media::Config::default()
        };
        change(&certs, &mut config);
        let deps = media::Deps {
            state: state.clone(),
            verifier: verifier(),
            certs: certs.clone(),
            node: node(),
            tap: Some(Arc::new(tap)),
            trust: Default::default(),
        };
        let media = media::start(config, deps).await.unwrap();
        let meeting = controller(&state, &certs).await;
        let config = global::Config {
            http: Some(any),
            https: None,
            token_keys: dir.path().join("token-keys"),
            lookups_per_second: 1000,
            lookup_burst: 1000,
            ..global::Config::default()
        };
        let file = dir.path().join("house.sqlite");
        let database = SqliteDatabase::open(&file).await.unwrap();
        let deps = global::Deps {
            database: Arc::new(database),
            state: state.clone(),
            certs: Some(certs.clone()),
            metrics: None,
            timing: Timing::default(),
            trust: Default::default(),
        };
        let global = global::start(config, deps).await.unwrap();
        let url = format!("http://{}", global.http_addr().unwrap());
        Self {
            api: Api::new(&url).unwrap(),
            url,
            dir,
            state,
            certs,
            _global: global,
            meeting: Some(meeting),
            media,
        }
    }

    /// Where the controller listens.
    pub(crate) fn signal(&self) -> SocketAddr {
        self.meeting.as_ref().unwrap().addr
    }

    /// The controller goes, and another comes that nobody was told of.
    pub(crate) async fn replace_controller(&mut self) {
        if let Some(former) = self.meeting.take() {
            former.stop(Duration::ZERO).await;
        }
        self.meeting = Some(controller(&self.state, &self.certs).await);
    }

    /// A new meeting whose keys need the link.
    pub(crate) async fn meeting(&self) -> Invitation {
        let wanted = CreateMeeting {
            key_in_link: Some(true),
            ..CreateMeeting::default()
        };
        let created = self.api.create_meeting(&wanted).await.unwrap();
        Invitation::with_new_secret(&created.meeting.code).unwrap()
    }

    pub(crate) async fn enter(&self, invitation: &Invitation) -> (Client, Events) {
        let access = self.api.lookup(&invitation.code, None).await.unwrap();
        Client::enter(access, invitation.secret.clone())
    }

    /// 320x180 pictures, 30 a second, a key frame each second, each with its number in it.
    pub(crate) fn camera(&self) -> Arc<Clip> {
        let arguments = "-f lavfi -i testsrc=size=320x180:rate=30 -t 4 -c:v libvpx -g 30 -deadline realtime -cpu-used 8";
        self.file(arguments, "camera.ivf")
    }

    /// A tone.
    pub(crate) fn microphone(&self) -> Arc<Clip> {
        let arguments = "-f lavfi -i sine=frequency=440:sample_rate=48000 -t 4 -c:a libopus";
        self.file(arguments, "microphone.ogg")
    }

    fn file(&self, arguments: &str, name: &str) -> Arc<Clip> {
        let path = self.dir.path().join(name);
        ffmpeg(arguments, &path);
        Arc::new(Clip::open(&path).unwrap())
    }
}

async fn controller(state: &Arc<dyn StateStore>, certs: &Certs) -> meeting::Running {
    let config = meeting::Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        ..meeting::Config::default()
    };
    let deps = meeting::Deps {
        state: state.clone(),
        verifier: Arc::new(Verifier::of_registry(state.clone())),
        certs: certs.clone(),
        node: NodeId(random_bytes().unwrap()),
        trust: Default::default(),
    };
    meeting::start(config, deps).await.unwrap()
}

fn ffmpeg(arguments: &str, out: &Path) {
    let made = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-y"])
        .args(arguments.split_whitespace())
        .arg(out)
        .status()
        .unwrap();
    assert!(made.success());
}

/// Waits until the participant's picture is as wished.
pub(crate) async fn reach(
    client: &Client,
    what: &str,
    wished: impl FnMut(&State) -> bool,
) -> State {
    let reached = timeout(PATIENCE, client.reach(wished)).await;
    match reached {
        Ok(state) => state.unwrap(),
        Err(_) => panic!("{what} was not reached: {:#?}", *client.state().borrow()),
    }
}
