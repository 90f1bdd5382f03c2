"""The rpcs: each reads its request, calls the run, charges the bytes, and answers."""

from gradwire_common.v1 import parameter_server_pb2_grpc as rpc
from gradwire_server.rpc.admin_calls import AdminCalls
from gradwire_server.rpc.push_calls import PushCalls
from gradwire_server.rpc.session_calls import SessionCalls
from gradwire_server.rpc.watch_calls import WatchCalls


class ParameterServer(SessionCalls, PushCalls, WatchCalls, AdminCalls, rpc.ParameterServerServicer):
    """Serves one run: every call of the contract."""
