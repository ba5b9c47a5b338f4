//! The gRPC door: Feast's two services, health and reflection.
//!
//! The same server as over HTTP answers; values stay the bytes that are stored. Errors become the
//! codes of gRPC by the table in [`code`].

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Code;
use axum::Router;
use axum::extract::{Request as HttpRequest, State};
use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response as HttpResponse;
use bytes::Bytes;
use daemon::Role;
use feast::serving::{
    GetFeastServingInfoRequest, GetFeastServingInfoResponse, GetOnlineFeaturesRequest,
    GetOnlineFeaturesResponse, PushRequest, PushResponse, RequestKind, WriteToOnlineStoreRequest,
    WriteToOnlineStoreResponse,
};
use std::time::Instant;
use tonic::service::Routes;
use tonic::{Request, Response, Status, async_trait};

use crate::error::Error;
use crate::http::Door;
use crate::http::words::chain;
use crate::metric::Asked;
use crate::push::{Cells, Rows};
use crate::request::{FeatureRequest, Values, Wanted};

mod generated {
    #![allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::pedantic,
        clippy::nursery,
        clippy::restriction,
        reason = "generated code"
    )]
    pub mod serving {
        include!(concat!(env!("OUT_DIR"), "/feast.serving.ServingService.rs"));
    }
    pub mod feature_server {
        include!(concat!(env!("OUT_DIR"), "/.GrpcFeatureServer.rs"));
    }
}

use generated::feature_server::grpc_feature_server_server::{
    GrpcFeatureServer, GrpcFeatureServerServer,
};
use generated::serving::serving_service_server::{ServingService, ServingServiceServer};

/// What the services are, for reflection.
const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// Both of Feast's services.
#[derive(Clone, Debug)]
struct Services {
    door: Arc<Door>,
}

/// The routes of gRPC.
///
/// # Panics
/// When the descriptor that was built with this program is none.
pub async fn router(door: Arc<Door>) -> Router {
    let bytes_max = door.server.settings.limits.body_bytes_max;
    let services = Services { door: Arc::clone(&door) };
    let serving = ServingServiceServer::new(services.clone()).max_decoding_message_size(bytes_max);
    let feature_server =
        GrpcFeatureServerServer::new(services).max_decoding_message_size(bytes_max);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR)
    };
    let built = "the descriptor is built with the program";
    // Clients of either version are about.
    let (v1, v1alpha) = (reflection().build_v1(), reflection().build_v1alpha());
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<ServingServiceServer<Services>>().await;
    reporter.set_serving::<GrpcFeatureServerServer<Services>>().await;
    let guarded = Routes::new(serving).add_service(feature_server).prepare().into_axum_router();
    let open = Routes::new(health)
        .add_service(v1.expect(built))
        .add_service(v1alpha.expect(built))
        .prepare()
        .into_axum_router();
    // What is at no path of theirs is answered by the first.
    guarded.route_layer(from_fn_with_state(door, admit)).merge(open.reset_fallback())
}

/// Lets a caller in, as over HTTP.
async fn admit(State(door): State<Arc<Door>>, request: HttpRequest, next: Next) -> HttpResponse {
    let path = request.uri().path();
    let is_write = path.ends_with("/Push") || path.ends_with("/WriteToOnlineStore");
    let role = if is_write { Role::Run } else { Role::Read };
    let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if let Err(denied) = door.auth.require(authorization, role) {
        let status = match denied {
            daemon::Denied::Role { .. } => Status::permission_denied(denied.to_string()),
            _ => Status::unauthenticated(denied.to_string()),
        };
        return status.into_http();
    }
    let Ok(_permit) = door.requests.try_acquire() else {
        return Status::unavailable("the server has too much to do; come again").into_http();
    };
    let limit = door.server.settings.limits.request_timeout;
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Status::deadline_exceeded("it took too long").into_http(),
    }
}

impl Services {
    async fn features(
        &self,
        request: GetOnlineFeaturesRequest,
    ) -> Result<Response<GetOnlineFeaturesResponse>, Status> {
        let wanted = match request.kind {
            Some(RequestKind::FeatureService(name)) => Wanted::Service(name),
            Some(RequestKind::Features(list)) => Wanted::Features(list.val),
            None => Wanted::Features(Vec::new()),
        };
        let entities = request.entities.into_iter();
        let request = FeatureRequest {
            wanted,
            entities: entities.map(|(name, column)| (name, Values::Proto(column.val))).collect(),
            full_feature_names: request.full_feature_names,
            view_versions: request.include_feature_view_version_metadata,
        };
        let begun = Instant::now();
        let answered = self.door.server.get(&request).await;
        let answered = answered.map(|answer| (answer.to_proto(), answer.asked()));
        let asked = answered.as_ref().map(|(_, asked)| *asked).unwrap_or_default();
        self.count("GetOnlineFeatures", &answered, asked, begun);
        answered.map(|(answer, _)| Response::new(answer)).map_err(status)
    }

    fn count<T>(
        &self,
        endpoint: &'static str,
        answered: &Result<T, Error>,
        asked: Asked,
        begun: Instant,
    ) {
        let code = answered.as_ref().map_or_else(|error| error.code().status(), |_| 200);
        self.door.server.metrics.request(endpoint, code, asked, begun.elapsed());
    }
}

#[async_trait]
impl ServingService for Services {
    async fn get_feast_serving_info(
        &self,
        _: Request<GetFeastServingInfoRequest>,
    ) -> Result<Response<GetFeastServingInfoResponse>, Status> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Response::new(GetFeastServingInfoResponse { version }))
    }

    async fn get_online_features(
        &self,
        request: Request<GetOnlineFeaturesRequest>,
    ) -> Result<Response<GetOnlineFeaturesResponse>, Status> {
        self.features(request.into_inner()).await
    }
}

#[async_trait]
impl GrpcFeatureServer for Services {
    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PushResponse>, Status> {
        let request = request.into_inner();
        if !matches!(request.to.as_str(), "" | "online") {
            return Err(Status::invalid_argument(format!(
                "`to` is `{}`, and this server writes to the online store alone",
                request.to
            )));
        }
        let begun = Instant::now();
        let rows = row(request.features, request.typed_features);
        // Feast's field for the source has the name of a view.
        let pushed = self.door.server.push(&request.stream_feature_view, &rows).await;
        self.count("Push", &pushed, Asked::default(), begun);
        pushed.map_err(status)?;
        Ok(Response::new(PushResponse { status: true }))
    }

    async fn write_to_online_store(
        &self,
        request: Request<WriteToOnlineStoreRequest>,
    ) -> Result<Response<WriteToOnlineStoreResponse>, Status> {
        let request = request.into_inner();
        let begun = Instant::now();
        let rows = row(request.features, request.typed_features);
        let written = self.door.server.write_to_view(&request.feature_view_name, &rows).await;
        self.count("WriteToOnlineStore", &written, Asked::default(), begun);
        written.map_err(status)?;
        Ok(Response::new(WriteToOnlineStoreResponse { status: true }))
    }

    async fn get_online_features(
        &self,
        request: Request<GetOnlineFeaturesRequest>,
    ) -> Result<Response<GetOnlineFeaturesResponse>, Status> {
        self.features(request.into_inner()).await
    }
}

/// One row; a typed value wins over the same as text.
fn row(texts: BTreeMap<String, String>, typed: BTreeMap<String, Bytes>) -> Rows {
    let texts = texts.into_iter().map(|(name, text)| (name, Cells::Text(text)));
    let typed = typed.into_iter().map(|(name, value)| (name, Cells::Proto(value)));
    texts.chain(typed).collect()
}

fn status(error: Error) -> Status {
    let code = error.code();
    let text = match code.own_words() {
        Some(words) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a request failed");
            words.to_owned()
        }
        None => chain(&error),
    };
    Status::new(grpc_code(code), text)
}

/// Decides which code of gRPC an error is answered with.
fn grpc_code(code: Code) -> tonic::Code {
    match code.status() {
        404 => tonic::Code::NotFound,
        401 => tonic::Code::Unauthenticated,
        403 => tonic::Code::PermissionDenied,
        400..=499 => tonic::Code::InvalidArgument,
        503 => tonic::Code::Unavailable,
        504 => tonic::Code::DeadlineExceeded,
        _ => tonic::Code::Internal,
    }
}
