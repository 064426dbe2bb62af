//! One Redis, and a cluster of them.

use darktower_servers::{Authority, Redis, RedisCluster, With};
use darktower_store::{RedisOptions, RedisState};
use darktower_wire::Secret;

pub(crate) fn options(url: String) -> RedisOptions {
    RedisOptions {
        url: Secret(url),
        namespace: "test".to_owned(),
        password: None,
        authorities: None,
    }
}

/// As many clients as the checks of several want.
async fn clients(url: &str) -> Vec<RedisState> {
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(RedisState::open(&options(url.to_owned())).await.unwrap());
    }
    clients
}

mod single {
    use super::*;

    async fn make() -> (RedisState, Redis) {
        let redis = Redis::start();
        let state = RedisState::open(&options(redis.url())).await.unwrap();
        (state, redis)
    }

    darktower_store::state_conformance!(make);
}

mod single_together {
    use super::*;

    async fn make() -> (Vec<RedisState>, Redis) {
        let redis = Redis::start();
        (clients(&redis.url()).await, redis)
    }

    darktower_store::state_conformance_together!(make);
}

mod cluster {
    use super::*;

    async fn start() -> RedisCluster {
        RedisCluster::start(0)
    }

    async fn make(cluster: &RedisCluster, namespace: &str) -> RedisState {
        let options = RedisOptions {
            namespace: namespace.to_owned(),
            ..options(cluster.url())
        };
        RedisState::open(&options).await.unwrap()
    }

    darktower_store::state_conformance_in_turn!(a_cluster_does_it_all, start, make);
}

/// As operators run one: every connection is encrypted, and asks for a password.
mod cluster_with_tls_and_a_password {
    use super::*;

    const PASSWORD: &str = "of-the-test";

    struct Guarded {
        cluster: RedisCluster,
        authority: Authority,
    }

    async fn start() -> Guarded {
        let authority = Authority::new();
        let with = With {
            password: Some(PASSWORD),
            authority: Some(&authority),
        };
        let cluster = RedisCluster::start_with(0, with);
        Guarded { cluster, authority }
    }

    async fn make(guarded: &Guarded, namespace: &str) -> RedisState {
        let options = RedisOptions {
            namespace: namespace.to_owned(),
            password: Some(Secret(PASSWORD.to_owned())),
            authorities: Some(guarded.authority.pem().into_bytes()),
            ..options(guarded.cluster.url())
        };
        RedisState::open(&options).await.unwrap()
    }

    darktower_store::state_conformance_in_turn!(a_guarded_cluster_does_it_all, start, make);
}

mod cluster_together {
    use super::*;

    async fn make() -> (Vec<RedisState>, RedisCluster) {
        let cluster = RedisCluster::start(0);
        (clients(&cluster.url()).await, cluster)
    }

    darktower_store::state_conformance_together!(make);
}
