//! Whom this process speaks gRPC with, as the settings say.

use std::net::SocketAddr;
use std::path::Path;

use darktower_cluster::Trust;

use crate::refusal::Refusal;
use crate::run::Role;
use crate::settings::Settings;

/// The trust of the settings. Without any, whoever reaches a service may order
/// it about: it is refused to listen where other machines reach it.
pub(crate) fn of(role: Role, settings: &Settings) -> Result<Trust, Refusal> {
    let cluster = &settings.cluster;
    let files = [
        &cluster.chain_file,
        &cluster.key_file,
        &cluster.authority_file,
    ];
    let named = files
        .iter()
        .filter(|file| !file.as_os_str().is_empty())
        .count();
    let wrong =
        |error: darktower_cluster::TrustError| Refusal::of_setting(format!("cluster: {error}"));
    match (named, cluster.development) {
        (3, false) => {
            let [chain, key, authority]: [&Path; 3] = files.map(|file| file.as_path());
            Trust::of_files(chain, key, authority).map_err(wrong)
        }
        (0, true) => Trust::development(&settings.node.data_dir).map_err(wrong),
        (0, false) => {
            stays_here(role, settings)?;
            Ok(Trust::default())
        }
        _ => {
            let says = "cluster: write `chain_file`, `key_file` and `authority_file`, all three, or \
                        `development = true` alone";
            Err(Refusal::of_setting(says.to_owned()))
        }
    }
}

fn stays_here(role: Role, settings: &Settings) -> Result<(), Refusal> {
    let offers_state = role == Role::Global && settings.state.url == "memory";
    let listens: [(bool, &str, SocketAddr); 4] = [
        (
            role.has_global(),
            "global.grpc_listen",
            settings.global.grpc_listen,
        ),
        (offers_state, "state.listen", settings.state.listen),
        (
            role.has_meeting(),
            "meeting.grpc_listen",
            settings.meeting.grpc_listen,
        ),
        (
            role.has_media(),
            "media.grpc_listen",
            settings.media.grpc_listen,
        ),
    ];
    for (does, setting, addr) in listens {
        if does && !addr.ip().is_loopback() {
            return Err(Refusal::of_setting(format!(
                "{setting} {addr} is reached by other machines, and services do not know one another: set \
                 `cluster.chain_file`, `key_file` and `authority_file`, or listen on 127.0.0.1"
            )));
        }
    }
    Ok(())
}
