"""TLS of a signer and of those who ask it: 1.3, and certificates always checked."""

import ssl
from pathlib import Path

from keeper.config import StrictModel
from keeper.errors import ConfigError
from keeper.quorum.private_file import read_private


class TlsSettings(StrictModel):
    """The signer's certificate chain and its private key, both PEM; the key without password."""

    certificate: Path
    key: Path

    def beside(self, folder: Path) -> "TlsSettings":
        """The same with relative paths taken from `folder`."""
        return TlsSettings(certificate=folder / self.certificate, key=folder / self.key)

    def context(self) -> ssl.SSLContext:
        """For the server. Raises ConfigError when the files do not fit or others may read the key."""
        read_private(self.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            # A password is never asked for: a server has nobody to ask.
            context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        except (OSError, ValueError) as error:
            raise ConfigError(
                "Cannot use certificate and key", where=f"{self.certificate} and {self.key}", seen=error
            ) from error
        return context


def trusting(authorities: Path) -> ssl.SSLContext:
    """For those who ask: only certificates under these (PEM) hold. Raises ConfigError without any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(authorities)
    except OSError as error:
        raise ConfigError("Cannot read certificates", where=authorities, seen=error) from error
    return context
