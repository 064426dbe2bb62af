//! Where the live state of this process is: in its own memory, with the
//! process that holds it, or in Redis.

use std::fmt;
use std::sync::Arc;

use darktower_cluster::{RemoteState, StateService, Trust, grpc};
use darktower_store::{MemoryState, RedisOptions, RedisState, StateStore};
use darktower_wire::Secret;

use crate::refusal::Refusal;
use crate::run::Role;
use crate::{secret_file, settings};

/// State in memory and services in several processes do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Apart(&'static str);

impl fmt::Display for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a {} of its own cannot keep the live state in its memory, where the other services \
             do not see it: set `url` in `[state]` (DARKTOWER_STATE__URL) to the process that \
             holds it, such as grpc://127.0.0.1:7000 for a `darktower global` on this machine, or to \
             a Redis that all of them use, such as redis://127.0.0.1:6379",
            self.0
        )
    }
}

impl std::error::Error for Apart {}

/// The state store, and the server that offers it to others.
pub(crate) struct State {
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) offered: Option<grpc::Serving>,
}

/// Opens what the settings name; a global controller on its own that holds
/// the state offers it to the others.
pub(crate) async fn open(
    role: Role,
    settings: &settings::State,
    trust: &Trust,
) -> anyhow::Result<State> {
    let url = settings.url.as_str();
    let shared: Arc<dyn StateStore> = match url.split_once("://") {
        None if url == "memory" => return own(role, settings, trust).await,
        Some(("redis" | "rediss" | "redis-cluster" | "rediss-cluster", _)) => {
            Arc::new(redis(settings).await?)
        }
        Some(("grpc" | "http" | "https", _)) => {
            let remote = RemoteState::of(trust, url);
            let wrong = |error| Refusal::of_setting(format!("state.url: {error}"));
            let remote = remote.map_err(wrong)?;
            let asked = remote.list_nodes(None).await;
            asked.map_err(|error| Refusal::of_holder(url, &error))?;
            Arc::new(remote)
        }
        _ => {
            let says = "state.url is none of \"memory\", \"grpc://host:7000\", \"redis://host:6379\", \
                        \"rediss://host:6379\" and \"redis-cluster://host:6379,host:6379\"";
            return Err(Refusal::of_setting(says.to_owned()).into());
        }
    };
    Ok(State {
        store: shared,
        offered: None,
    })
}

async fn redis(settings: &settings::State) -> Result<RedisState, Refusal> {
    let authorities = &settings.authorities_file;
    let authorities = match authorities.as_os_str().is_empty() {
        true => None,
        false => Some(std::fs::read(authorities).map_err(|error| {
            let file = authorities.display();
            Refusal::of_setting(format!("state.authorities_file {file}: {error}"))
        })?),
    };
    let options = RedisOptions {
        url: Secret(settings.url.clone()),
        namespace: settings.namespace.clone(),
        password: secret_file::read("state.password_file", &settings.password_file)?,
        authorities,
    };
    let opened = RedisState::open(&options).await;
    opened.map_err(|why| Refusal::of_state(&settings.url, &why))
}

async fn own(role: Role, settings: &settings::State, trust: &Trust) -> anyhow::Result<State> {
    let store: Arc<dyn StateStore> = Arc::new(MemoryState::new());
    let offered = match role {
        Role::All => None,
        Role::Global => {
            let routes = tonic::service::Routes::new(StateService::server(store.clone()));
            Some(
                grpc::serve_to(trust, settings.listen, routes)
                    .await
                    .map_err(|error| {
                        anyhow::anyhow!("state.listen {}: {error}", settings.listen)
                    })?,
            )
        }
        Role::Meeting => return Err(Apart("meeting controller").into()),
        Role::Media => return Err(Apart("media handler").into()),
    };
    Ok(State { store, offered })
}
