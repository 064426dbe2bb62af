//! A global controller with everything around it, and a client.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use darktower_cluster::grpc::{self, Serving};
use darktower_cluster::rpc;
use darktower_cluster::rpc::meeting_controller_server::{
    MeetingController, MeetingControllerServer,
};
use darktower_cluster::{Timing, trace::TraceContext};
use darktower_global_controller::{Config, Deps, Running, start};
use darktower_store::{Database, MemoryState, Node, Service, SqliteDatabase, StateStore};
use darktower_wire::Code;
use darktower_wire::ids::NodeId;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tonic::service::Routes;
use tonic::{Request as Call, Response as Reply, Status};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const TTL: Duration = Duration::from_secs(600);
pub(crate) const HANDLER: NodeId = NodeId([0x33; 16]);

/// The other end of Describe and End as its contract has it, told what to
/// answer: what these tests are about includes answers that no sound
/// controller gives.
#[derive(Clone, Default)]
pub(crate) struct Peer {
    pub(crate) says: Arc<Mutex<Says>>,
    pub(crate) heard: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Default)]
pub(crate) enum Says {
    #[default]
    Described,
    Participants(u32),
    Refuses(Code),
    Nothing,
}

impl Peer {
    pub(crate) fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn hear<T>(&self, what: &str, call: &Call<T>) -> Says {
        let trace: TraceContext = grpc::trace_of(call);
        let heard = format!("{what} {}", trace.trace_id());
        self.heard.lock().unwrap().push(heard);
        self.says.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl MeetingController for Peer {
    async fn describe(
        &self,
        call: Call<rpc::DescribeRequest>,
    ) -> Result<Reply<rpc::Description>, Status> {
        let participants = match self.hear("describe", &call) {
            Says::Described => 0,
            Says::Participants(count) => count,
            Says::Refuses(code) => return Err(grpc::status(code, "as told")),
            Says::Nothing => std::future::pending().await,
        };
        Ok(Reply::new(rpc::Description {
            participants,
            media_node: HANDLER.to_vec().into(),
            founded: true,
            epoch: 3,
            group_info: Bytes::from_static(b"public"),
        }))
    }

    async fn end(&self, call: Call<rpc::EndRequest>) -> Result<Reply<rpc::EndReply>, Status> {
        match self.hear("end", &call) {
            Says::Refuses(code) => Err(grpc::status(code, "as told")),
            _ => Ok(Reply::new(rpc::EndReply {})),
        }
    }

    async fn hold(&self, _: Call<rpc::HoldRequest>) -> Result<Reply<rpc::HoldReply>, Status> {
        Err(Status::unimplemented("only controllers ask it"))
    }
}

/// A global controller, the stores, one meeting controller's address and one handler's.
pub(crate) struct House {
    pub(crate) running: Running,
    pub(crate) database: Arc<SqliteDatabase>,
    pub(crate) state: Arc<MemoryState>,
    pub(crate) peer: Peer,
    _serving: Serving,
    _directory: tempfile::TempDir,
}

impl House {
    pub(crate) async fn new() -> Self {
        let house = Self::with(|_| ()).await;
        house.add_nodes().await;
        house
    }

    /// Without any other node yet.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("darktower.db");
        let database = Arc::new(SqliteDatabase::open(&path).await.unwrap());
        let state = Arc::new(MemoryState::new());
        let peer = Peer::default();
        let routes = Routes::new(MeetingControllerServer::new(peer.clone()));
        let serving = grpc::serve(LOOPBACK, routes).await.unwrap();
        let mut config = Config {
            http: Some(LOOPBACK),
            https: None,
            token_keys: directory.path().join("keys"),
            lookups_per_second: 1000,
            lookup_burst: 1000,
            creations_per_second: 1000,
            creation_burst: 1000,
            ..Config::default()
        };
        change(&mut config);
        let deps = Deps {
            database: database.clone(),
            state: state.clone(),
            certs: None,
            metrics: Some(Arc::new(|| "up 1\n".to_owned())),
            timing: Timing::default(),
            trust: Default::default(),
        };
        Self {
            running: start(config, deps).await.unwrap(),
            database,
            state,
            peer,
            _serving: serving,
            _directory: directory,
        }
    }

    pub(crate) async fn add_nodes(&self) {
        let controller = self.controller(NodeId([0x22; 16]), self._serving.addr());
        let handler = Node {
            certificate_sha256: vec![[7; 32]],
            ..Node::new(
                HANDLER,
                Service::Media,
                String::new(),
                "https://0.0.0.0:4434/v1/media".to_owned(),
            )
        };
        for node in [controller, handler] {
            self.state.put_node(node, TTL).await.unwrap();
        }
        self.sees(1, 1).await;
    }

    /// Adds a meeting controller that answers at `addr`.
    pub(crate) async fn add_controller(&self, id: NodeId, addr: SocketAddr) {
        let controller = self.controller(id, addr);
        self.state.put_node(controller, TTL).await.unwrap();
    }

    fn controller(&self, id: NodeId, addr: SocketAddr) -> Node {
        let public = "https://0.0.0.0:4433/v1/signal".to_owned();
        Node::new(id, Service::Meeting, grpc::url(addr), public)
    }

    /// Waits until the health answer counts these nodes.
    pub(crate) async fn sees(&self, controllers: u64, handlers: u64) {
        darktower_store::conformance::eventually("the nodes are seen", async || {
            let health = self.get("/api/v1/health").await.json;
            health["controllers"] == controllers && health["handlers"] == handlers
        })
        .await;
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(json(Method::POST, path, &body.to_string())).await
    }

    /// As the bearer of `token`.
    pub(crate) async fn bearing(&self, method: Method, path: &str, token: &str) -> Answer {
        let mut request = request(method, path);
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
        self.ask(request).await
    }

    pub(crate) async fn ask(&self, mut request: Request<Full<Bytes>>) -> Answer {
        let addr = self.running.http_addr().unwrap();
        let host = format!("localhost:{}", addr.port()).parse().unwrap();
        request.headers_mut().entry("host").or_insert(host);
        let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        connection.abort();
        let json = serde_json::from_slice(&body).unwrap_or_default();
        Answer {
            head: Response::from_parts(head, ()),
            body,
            json,
        }
    }

    /// Creates a meeting; the whole answer.
    pub(crate) async fn create(&self) -> Value {
        let created = self.post("/api/v1/meetings", &serde_json::json!({})).await;
        assert_eq!(created.status(), StatusCode::CREATED, "{:?}", created.body);
        created.json
    }

    pub(crate) async fn close_database(&self) {
        self.database.close().await;
    }
}

pub(crate) fn request(method: Method, path: &str) -> Request<Full<Bytes>> {
    let builder = Request::builder().method(method).uri(path);
    builder.body(Full::default()).unwrap()
}

pub(crate) fn json(method: Method, path: &str, body: &str) -> Request<Full<Bytes>> {
    let builder = Request::builder().method(method).uri(path);
    let builder = builder.header("content-type", "application/json");
    builder.body(Full::from(body.to_owned())).unwrap()
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    pub(crate) body: Bytes,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.head.status()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.head.headers().get(name);
        value
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// Asserts that this is the problem `code`, whole and in form.
    #[track_caller]
    pub(crate) fn is_problem(&self, code: Code) {
        self.is_problem_with(code, code.http_status());
    }

    #[track_caller]
    pub(crate) fn is_problem_with(&self, code: Code, status: u16) {
        assert_eq!(self.json["code"], code.name(), "{:?}", self.body);
        assert_eq!(self.status().as_u16(), status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.json["status"], status);
        assert_eq!(self.json["number"], code.number());
        assert_eq!(self.json["retryable"], code.is_retryable());
        assert_eq!(self.json["title"], code.description());
        assert_eq!(self.json["type"], format!("/problems/{code}"));
        let trace = self.json["trace_id"].as_str().unwrap();
        assert_eq!(trace.len(), 32);
        assert!(self.header("traceparent").contains(trace));
        let is_busy = matches!(status, 429 | 503) && code.is_retryable();
        assert_eq!(!self.header("retry-after").is_empty(), is_busy);
    }
}
