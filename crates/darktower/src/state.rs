//! Where the live state of this process is: in its own memory, or with the
//! process that holds it.

use std::fmt;
use std::sync::Arc;

use darktower_cluster::{RemoteState, StateService, grpc};
use darktower_store::{MemoryState, StateStore};

use crate::run::Role;
use crate::settings;

/// State in memory and services in several processes do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Apart(&'static str);

impl fmt::Display for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a {} of its own cannot keep the live state in its memory, where the other services \
             do not see it: set `url` in `[state]` (DARKTOWER_STATE__URL) to the process that \
             holds it, such as grpc://127.0.0.1:7000 for a `darktower global` on this machine",
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
pub(crate) async fn open(role: Role, settings: &settings::State) -> anyhow::Result<State> {
    if settings.url != "memory" {
        return Ok(State {
            store: Arc::new(RemoteState::new(&settings.url)?),
            offered: None,
        });
    }
    let store: Arc<dyn StateStore> = Arc::new(MemoryState::new());
    let offered = match role {
        Role::All => None,
        Role::Global => {
            let routes = tonic::service::Routes::new(StateService::server(store.clone()));
            Some(
                grpc::serve(settings.listen, routes)
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
