"""A TLS handshake with a server, tried apart from gRPC, which tells nobody why one was refused."""

import errno
import ssl
from pathlib import Path

from gradwire_common.identity.files import CA, CERTIFICATE, KEY
from gradwire_common.transport.address import Address

SECONDS = 3.0  # for a server to answer

_REFUSALS = [  # of OpenSSL's names for alerts, and what they mean
    ("CERTIFICATE_REQUIRED", "the server wants a certificate of its callers; give --certs DIR"),
    ("UNKNOWN_CA", "the server does not know the authority of this certificate"),
    ("CERTIFICATE_EXPIRED", "the server takes this certificate for expired; are both clocks right?"),
    ("BAD_CERTIFICATE", "the server does not accept this certificate"),
    ("UNSUPPORTED_CERTIFICATE", "the server does not accept this certificate: it is of no use for callers"),
    ("CERTIFICATE_UNKNOWN", "the server does not accept this certificate"),
    ("DECRYPT_ERROR", "the server does not accept this certificate"),
    ("WRONG_VERSION_NUMBER", "what listens there does not speak TLS; is it a server without certificates?"),
    ("RECORD_LAYER_FAILURE", "what listens there does not speak TLS; is it a server without certificates?"),
]


def refusal(server: Address, certs: Path) -> str:
    """Return why a handshake with `server` by the files in `certs` fails; empty where it does not.

    Args:
        server: its address.
        certs: a folder with at least the authority's certificate.

    Raises:
        OSError: the server cannot be reached.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(certs / CA))
    context.set_alpn_protocols(["h2"])
    try:
        if (certs / CERTIFICATE).exists():
            context.load_cert_chain(certs / CERTIFICATE, certs / KEY)
        with (
            server.connection(SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=server.host or "localhost") as secured,
        ):
            secured.settimeout(SECONDS)
            if not secured.recv(1):  # neither the settings of HTTP/2 nor an alert
                return "the server ended the connection: it does not accept this certificate, or this many connections"
    except ssl.SSLCertVerificationError as error:
        return f"the server's certificate is not accepted: {error.verify_message.rstrip('.')}"
    except ssl.SSLEOFError:
        raise ConnectionResetError(errno.ECONNRESET, "it ended the handshake") from None
    except ssl.SSLError as error:
        return next(
            (meaning for name, meaning in _REFUSALS if name in str(error).upper()), f"TLS failed: {error.reason}"
        )
    return ""
