//! The services of a process: each started by its own `start`, stopped in the
//! order in which nobody is left without the one he needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use darktower_cluster::token::Verifier;
use darktower_cluster::{Timing, Trust, random_bytes};
use darktower_net::Certs;
use darktower_store::StateStore;
use darktower_telemetry::PrometheusHandle;
use darktower_wire::ids::NodeId;
use tokio::time::Instant;

use crate::database;
use crate::run::{Addresses, Role};
use crate::settings::Settings;

/// What every service of the process is given.
pub(crate) struct Given {
    pub(crate) role: Role,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) certs: Certs,
    pub(crate) prometheus: PrometheusHandle,
    pub(crate) trust: Trust,
    pub(crate) data_dir: PathBuf,
}

/// The services that run.
#[derive(Default)]
pub(crate) struct Services {
    global: Option<darktower_global_controller::Running>,
    meeting: Option<darktower_meeting_controller::Running>,
    media: Option<darktower_media_handler::Running>,
}

impl Services {
    /// Starts what the role has. The HTTP API comes last: who is answered by
    /// it can be served by the others.
    pub(crate) async fn start(
        given: Given,
        settings: Settings,
        addresses: &mut Addresses,
    ) -> anyhow::Result<Self> {
        let mut services = Self::default();
        if given.role.has_media() {
            let deps = darktower_media_handler::Deps {
                state: given.store.clone(),
                verifier: Arc::new(Verifier::of_registry(given.store.clone())),
                certs: given.certs.clone(),
                node: NodeId(random_bytes()?),
                tap: None,
                trust: given.trust.clone(),
            };
            let running = darktower_media_handler::start(settings.media, deps)
                .await
                .context("the media handler")?;
            addresses.media = Some(running.addr);
            services.media = Some(running);
        }
        if given.role.has_meeting() {
            let deps = darktower_meeting_controller::Deps {
                state: given.store.clone(),
                verifier: Arc::new(Verifier::of_registry(given.store.clone())),
                certs: given.certs.clone(),
                node: NodeId(random_bytes()?),
                trust: given.trust.clone(),
            };
            let running = darktower_meeting_controller::start(settings.meeting, deps)
                .await
                .context("the meeting controller")?;
            addresses.signal = Some(running.addr);
            services.meeting = Some(running);
        }
        if given.role.has_global() {
            let prometheus = given.prometheus.clone();
            let deps = darktower_global_controller::Deps {
                database: database::open(&settings.database, &given.data_dir).await?,
                state: given.store.clone(),
                certs: Some(given.certs.clone()),
                metrics: Some(Arc::new(move || prometheus.render())),
                timing: Timing::default(),
                trust: given.trust.clone(),
            };
            let config = within(settings.global, &given.data_dir);
            let running = darktower_global_controller::start(config, deps)
                .await
                .context("the global controller")?;
            addresses.http = running.http_addr();
            addresses.https = running.https_addr();
            services.global = Some(running);
        }
        Ok(services)
    }

    /// Stops them: no newcomers first, then who leads meetings, and last who
    /// forwards, within `grace` together.
    pub(crate) async fn stop(self, grace: Duration) {
        let until = Instant::now() + grace;
        let left = || until.saturating_duration_since(Instant::now());
        if let Some(global) = self.global {
            global.stop(left().min(LAST_REQUESTS)).await;
        }
        if let Some(meeting) = self.meeting {
            meeting.stop(left()).await;
        }
        if let Some(media) = self.media {
            media.stop(left()).await;
        }
    }
}

/// A request under way is short; the rest of the grace is for meetings.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// Token keys that are not put elsewhere are kept with everything else.
fn within(
    mut config: darktower_global_controller::Config,
    data_dir: &Path,
) -> darktower_global_controller::Config {
    let usual = darktower_global_controller::Config::default().token_keys;
    if config.token_keys == usual {
        config.token_keys = data_dir.join("token-keys");
    }
    config
}
