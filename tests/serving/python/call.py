"""Calls a feature server over gRPC with Feast's own stubs and messages: call.py PORT FILE [CA].

FILE is a JSON list of [service, method, request]; the services "health" and
"reflection" are those of gRPC itself. CA is a file of the authorities that are
trusted, and has the calls go over TLS.
Prints a JSON list of {"code": …, "response": …}, messages as the recording has them.
"""

import json
import sys

import grpc
from feast.protos.feast.serving import (
    GrpcServer_pb2,
    GrpcServer_pb2_grpc,
    ServingService_pb2,
    ServingService_pb2_grpc,
)
from google.protobuf.json_format import MessageToDict, ParseDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

# Longer than any answer takes here.
TIMEOUT_SECONDS = 30
STUBS = {
    "GrpcFeatureServer": GrpcServer_pb2_grpc.GrpcFeatureServerStub,
    "feast.serving.ServingService": ServingService_pb2_grpc.ServingServiceStub,
    "health": health_pb2_grpc.HealthStub,
}
REQUESTS = {
    "GetOnlineFeatures": ServingService_pb2.GetOnlineFeaturesRequest,
    "GetFeastServingInfo": ServingService_pb2.GetFeastServingInfoRequest,
    "Check": health_pb2.HealthCheckRequest,
    "Push": GrpcServer_pb2.PushRequest,
    "WriteToOnlineStore": GrpcServer_pb2.WriteToOnlineStoreRequest,
}


def reflected(channel):
    """The services that the server says it has, with the methods of each."""
    database = ProtoReflectionDescriptorDatabase(channel)
    services = {}
    for name in database.get_services():
        file = database.FindFileContainingSymbol(name)
        short = name.rpartition(".")[2]
        methods = [s.method for s in file.service if s.name == short]
        services[name] = [method.name for method in methods[0]] if methods else []
    return {"code": "OK", "response": services}


def call(channel, service, method, request):
    """One call, and what came of it."""
    if service == "reflection":
        return reflected(channel)
    message = ParseDict(request, REQUESTS[method]())
    try:
        response = getattr(STUBS[service](channel), method)(message, timeout=TIMEOUT_SECONDS)
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details()}
    return {"code": "OK", "response": MessageToDict(response, preserving_proto_field_name=True)}


def channel_to(port, authority):
    """A channel, over TLS where there is an authority to trust."""
    # Nothing of the machine's may come between.
    options = [("grpc.enable_http_proxy", 0)]
    address = f"127.0.0.1:{port}"
    if authority is None:
        return grpc.insecure_channel(address, options=options)
    with open(authority, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    return grpc.secure_channel(address, credentials, options=options)


def main(port, path, authority=None):
    with open(path) as file:
        calls = json.load(file)
    with channel_to(port, authority) as channel:
        print(json.dumps([call(channel, *asked) for asked in calls]))


if __name__ == "__main__":
    main(*sys.argv[1:])
