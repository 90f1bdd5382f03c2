"""Generated protobuf and gRPC stubs; `make stubs` writes them, a test compares them with proto/."""
