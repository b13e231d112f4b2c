"""A requester and a nats-server whose certificate is signed by an authority of their own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from requester import NotConnectedError, RequesterSettings, SettingsError
from requester.hop import Hop
from tests.support.certificates import Certificates
from tests.support.nats_server import nats_server


@pytest.fixture
def files(tmp_path: Path) -> Certificates:
    return Certificates.make(tmp_path / "certificates")


@pytest.fixture
async def url(tmp_path: Path, files: Certificates) -> AsyncIterator[str]:
    """Give the address of a server that wants a certificate of its clients, too."""
    async with nats_server(tmp_path, files.server_config(verify=True)) as address:
        yield address


async def trouble_of(settings: RequesterSettings) -> str:
    hop = Hop(settings)
    with pytest.raises(NotConnectedError) as caught:
        await hop.wait_connected(0.5)
    await hop.close()
    return str(caught.value)


async def test_the_files_are_settings(url: str, files: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the authority, a certificate and its key from the environment, a server that asks for all is reached."""
    monkeypatch.setenv("NATS_URL", url)
    monkeypatch.setenv("CLAUDE_REQUESTER_NATS_CA", str(files.ca))
    monkeypatch.setenv("CLAUDE_REQUESTER_NATS_CERT", str(files.client_cert))
    monkeypatch.setenv("CLAUDE_REQUESTER_NATS_KEY", str(files.client_key))
    hop = Hop(RequesterSettings())
    await hop.wait_connected(5)
    assert hop.state == "connected"
    await hop.close()


async def test_what_is_missing_is_told(url: str, files: Certificates) -> None:
    """Without the authority the server is not trusted, and without a certificate it refuses."""
    assert url.startswith("tls://")
    assert "SSLCertVerificationError" in await trouble_of(RequesterSettings(nats_url=url))
    assert "cannot be reached" in await trouble_of(RequesterSettings(nats_url=url, nats_ca=files.ca))


@pytest.mark.parametrize("name", ["NATS_CA", "NATS_CERT", "NATS_KEY"])
def test_a_file_that_cannot_be_used_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings whose files cannot be used are refused at the start, in one line that names the variable."""
    monkeypatch.setenv(f"CLAUDE_REQUESTER_{name}", str(tmp_path / "none.pem"))
    with pytest.raises(SettingsError) as caught:
        RequesterSettings()
    assert str(caught.value).startswith(f"settings refused: CLAUDE_REQUESTER_{name}: ")
    assert str(caught.value).isprintable()
