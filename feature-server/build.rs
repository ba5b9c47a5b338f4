//! Generates the servers of Feast's two gRPC services, and their description for reflection.
//!
//! The messages are those of `feast::serving`, whose values stay serialized; `proto/` describes
//! the same messages as clients see them.

use std::path::PathBuf;

use tonic_build::manual::{Builder, Method, Service};

fn method(name: &str, route: &str, message: &str) -> Method {
    Method::builder()
        .name(name)
        .route_name(route)
        .input_type(format!("feast::serving::{message}Request"))
        .output_type(format!("feast::serving::{message}Response"))
        .codec_path("tonic_prost::ProstCodec")
        .build()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let serving = Service::builder()
        .name("ServingService")
        .package("feast.serving")
        .method(method("get_feast_serving_info", "GetFeastServingInfo", "GetFeastServingInfo"))
        .method(method("get_online_features", "GetOnlineFeatures", "GetOnlineFeatures"))
        .build();
    let feature_server = Service::builder()
        .name("GrpcFeatureServer")
        .package("")
        .method(method("push", "Push", "Push"))
        .method(method("write_to_online_store", "WriteToOnlineStore", "WriteToOnlineStore"))
        .method(method("get_online_features", "GetOnlineFeatures", "GetOnlineFeatures"))
        .build();
    Builder::new().build_client(false).compile(&[serving, feature_server]);

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let files = ["feast/serving/ServingService.proto", "feast/serving/GrpcServer.proto"];
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_files(files)?;
    std::fs::write(out.join("descriptor.bin"), compiler.encode_file_descriptor_set())?;
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}
